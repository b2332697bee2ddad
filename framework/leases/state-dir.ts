import { chmod, lstat, mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { configError, messageOf } from '../core/index.ts'

/** Longest path of a Unix socket on Linux: `sun_path` holds 108 bytes with its final NUL. */
const SOCKET_PATH_BYTES = 107

/** Files of one broker. */
export interface StatePaths {
  dir: string
  socket: string
  journal: string
  /** What must outlive the broker: the standbys asked for. */
  settings: string
  /** Process id and version of the broker that runs, or ran last. */
  process: string
  log: string
}

/** @throws `ATP_BROKER_STATE_DIR` when the socket's path would be too long. */
export function statePaths(stateDir: string): StatePaths {
  const dir = resolve(stateDir)
  const socket = join(dir, 'broker.sock')
  const sizeBytes = Buffer.byteLength(socket)
  if (sizeBytes > SOCKET_PATH_BYTES) {
    throw configError(
      'ATP_BROKER_STATE_DIR',
      `the broker's socket "${socket}" has a path of ${sizeBytes} bytes; Linux allows ${SOCKET_PATH_BYTES}`,
      {
        remedy: `use a state directory whose path is at least ${sizeBytes - SOCKET_PATH_BYTES} bytes shorter`,
      },
    )
  }
  return {
    dir,
    socket,
    journal: join(dir, 'journal.jsonl'),
    settings: join(dir, 'settings.json'),
    process: join(dir, 'broker.json'),
    log: join(dir, 'broker.log'),
  }
}

/**
 * Makes the directory, for its owner only: who can reach the socket can make and destroy VMs.
 *
 * @throws `ATP_BROKER_STATE_DIR` when it cannot be made or belongs to somebody else.
 */
export async function makeStateDir({ dir }: StatePaths): Promise<void> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 })
    const { uid, mode } = await lstat(dir)
    if (uid !== process.getuid?.()) throw new Error(`it belongs to user ${uid}`)
    if ((mode & 0o777) !== 0o700) await chmod(dir, 0o700)
  } catch (error) {
    throw configError(
      'ATP_BROKER_STATE_DIR',
      `the broker's state directory "${dir}" cannot be used: ${messageOf(error)}`,
      {
        cause: error,
        remedy: 'make it writable for your user, or use another one',
      },
    )
  }
}
