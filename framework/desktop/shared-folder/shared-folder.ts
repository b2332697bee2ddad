import { realpath, stat } from 'node:fs/promises'
import { configError, messageOf, type CallOptions } from '../../core/index.ts'
import {
  FolderClients,
  folderTakenError,
  type PortChannel,
  type SpiceVmConnection,
} from '../../protocols/spice/index.ts'
import { WebDavServer } from './webdav-server.ts'

/** A folder of this machine that the VM sees through its folder channel, for reading and writing. */
export class SharedFolder {
  /** On this machine, without symbolic links. */
  readonly path: string
  readonly #clients: FolderClients
  readonly #server: WebDavServer
  readonly #closeChannel: () => Promise<void>

  private constructor(
    path: string,
    owned: { clients: FolderClients; server: WebDavServer; closeChannel: () => Promise<void> },
  ) {
    this.path = path
    this.#clients = owned.clients
    this.#server = owned.server
    this.#closeChannel = owned.closeChannel
  }

  /**
   * Shares a folder over the session's folder channel.
   *
   * @throws `ATP_FOLDER` for what is no folder, `ATP_SPICE_FOLDER_TAKEN` when one is shared already,
   *   `ATP_SPICE_NO_CHANNEL` when the VM has no folder channel.
   */
  static async share(connection: SpiceVmConnection, folder: string, options: CallOptions): Promise<SharedFolder> {
    const path = await realFolder(folder)
    const server = new WebDavServer(path)
    let clients: FolderClients | undefined
    const prepare = (channel: PortChannel) => {
      clients = new FolderClients(channel, (stream) => server.serve(stream))
    }
    try {
      await connection.openChannel('webdav', { prepare, ...options })
    } catch (error) {
      clients?.close()
      throw error
    }
    if (!clients) throw folderTakenError(connection.server.name)
    return new SharedFolder(path, { clients, server, closeChannel: () => connection.closeChannel('webdav') })
  }

  /** Programs of the guest that are connected to it now. */
  get clients(): number {
    return this.#clients.size
  }

  /** Shares it no longer. */
  async close(): Promise<void> {
    this.#server.close()
    this.#clients.close()
    await this.#closeChannel()
  }
}

async function realFolder(folder: string): Promise<string> {
  try {
    const path = await realpath(folder)
    if ((await stat(path)).isDirectory()) return path
  } catch (cause) {
    throw notAFolder(folder, messageOf(cause), cause)
  }
  throw notAFolder(folder, 'it is no folder')
}

function notAFolder(folder: string, why: string, cause?: unknown): Error {
  return configError('ATP_FOLDER', `${folder} cannot be shared: ${why}`, {
    cause,
    context: { folder },
    remedy: 'name an existing folder',
  })
}
