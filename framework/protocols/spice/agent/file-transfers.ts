import { withDeadline, type CallOptions } from '../../../core/deadline.ts'
import { MessageQueue } from '../../message-queue.ts'
import type { SpiceReader } from '../wire/reader.ts'
import { agentCannotError, fileNameError, fileRefusedError } from './errors.ts'
import type { AgentLink } from './link.ts'
import { readFileStatus, writeFileData, writeFileStart, writeFileStatus, type FileStatus } from './messages.ts'
import { AGENT_MESSAGE } from './numbers.ts'

const SEND_MS = 60_000
const PART_BYTES = 64 * 1024
const NAME_MAX_BYTES = 255
/** More statuses than an agent has reason to send for one file. */
const STATUSES_MAX = 16
const ID_MAX = 0xffff_ffff

/** Files on their way into the guest. */
export class FileTransfers {
  readonly #link: AgentLink
  readonly #transfers = new Map<number, MessageQueue<FileStatus>>()
  #lastId = 0

  constructor(link: AgentLink) {
    this.#link = link
  }

  /**
   * Sends a file. Resolves when the agent says that it has all of it; an agent decides itself where it puts it.
   *
   * @throws `ATP_SPICE_FILE_NAME`, `ATP_SPICE_FILE_REFUSED` with the agent's reason, `ATP_SPICE_AGENT_ABSENT`,
   *   `ATP_SPICE_AGENT_CANNOT`, `ATP_SPICE_AGENT_GONE`, `ATP_TIMEOUT` after 60 s by default.
   */
  async send(name: string, content: Uint8Array | Blob, { signal, timeoutMs = SEND_MS }: CallOptions): Promise<void> {
    if (/^\.{0,2}$|[/\\\0]/.test(name) || new TextEncoder().encode(name).length > NAME_MAX_BYTES) {
      throw fileNameError(name)
    }
    const blob = content instanceof Blob ? content : new Blob([content as Uint8Array<ArrayBuffer>])
    const { place } = this.#link
    const capabilities = await this.#link.ready({ signal, timeoutMs })
    if (capabilities.has('fileXferDisabled')) throw agentCannotError(place, 'file transfers', [...capabilities])
    const id = (this.#lastId = (this.#lastId % ID_MAX) + 1)
    const statuses = new MessageQueue<FileStatus>({ what: `statuses of "${name}"`, limit: STATUSES_MAX })
    this.#transfers.set(id, statuses)
    try {
      await withDeadline(`sending "${name}" to ${place}`, { signal, timeoutMs }, (stop) =>
        this.#send({ id, name, blob, statuses, stop }),
      )
    } catch (error) {
      // An agent that knows of the end already does not mind; one that is gone is told nothing.
      void this.#link.send(AGENT_MESSAGE.fileXferStatus, writeFileStatus(id, 'cancelled')).catch(() => {})
      throw error
    } finally {
      this.#transfers.delete(id)
    }
  }

  /** Takes a `VDAgentFileXferStatusMessage`. @throws `ATP_SPICE_PROTOCOL` */
  handle(reader: SpiceReader): void {
    const status = readFileStatus(reader)
    // Of a transfer that is over here: an agent may say more than once how it ended.
    this.#transfers.get(status.id)?.push(status)
  }

  /** The agent is gone. */
  reset(reason: Error): void {
    for (const statuses of this.#transfers.values()) statuses.end(reason)
  }

  async #send(file: {
    id: number
    name: string
    blob: Blob
    statuses: MessageQueue<FileStatus>
    stop: AbortSignal
  }): Promise<void> {
    const { id, name, blob, statuses, stop } = file
    const expect = async (wanted: FileStatus['status']) => {
      const { status, detail } = await statuses.next({ signal: stop })
      if (status !== wanted) throw fileRefusedError(this.#link.place, name, status, detail)
    }
    await this.#link.send(AGENT_MESSAGE.fileXferStart, writeFileStart(id, name, blob.size), { signal: stop })
    await expect('canSendData')
    // A file without content has one part without content.
    let at = 0
    do {
      // Refused in the middle of it.
      if (statuses.size > 0) await expect('canSendData')
      const part = new Uint8Array(await blob.slice(at, at + PART_BYTES).arrayBuffer())
      await this.#link.send(AGENT_MESSAGE.fileXferData, writeFileData(id, part), { signal: stop })
      at += part.length
    } while (at < blob.size)
    await expect('success')
  }
}
