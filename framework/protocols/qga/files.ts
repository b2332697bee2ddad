import type { CallOptions } from '../../core/index.ts'
import type { QgaConnection } from './connection.ts'
import { qgaFileError, qgaProtocolError } from './errors.ts'

/** Bytes a message. Agents were seen to stop answering for seconds from about 196 kB on. */
export const FILE_CHUNK_BYTES = 48 * 1024

/** Closing a handle must work although the caller's own time is up. */
const CLOSE_TIMEOUT_MS = 5_000

/** Reads a whole file. @throws `ATP_QGA_FILE` when it cannot be opened or exceeds `maxBytes`. */
export async function readGuestFile(
  agent: QgaConnection,
  path: string,
  maxBytes: number,
  options: CallOptions,
): Promise<Uint8Array> {
  return withHandle(agent, path, 'r', options, async (handle) => {
    const chunks: Uint8Array[] = []
    let sizeBytes = 0
    for (;;) {
      const answer = await agent.command('guest-file-read', { handle, count: FILE_CHUNK_BYTES }, options)
      const { count, eof, 'buf-b64': data } = answer as { count?: unknown; eof?: unknown; 'buf-b64'?: unknown }
      if (typeof count !== 'number' || typeof eof !== 'boolean' || typeof data !== 'string') {
        throw qgaProtocolError(agent.vm, 'guest-file-read with no data', JSON.stringify(answer))
      }
      const bytes = Buffer.from(data, 'base64')
      sizeBytes += bytes.byteLength
      if (sizeBytes > maxBytes) throw qgaFileError(agent.vm, path, `is larger than ${maxBytes} bytes`)
      chunks.push(bytes)
      if (eof || count === 0) return Buffer.concat(chunks)
    }
  })
}

/** Replaces a file's content. @throws `ATP_QGA_FILE` when it cannot be opened. */
export async function writeGuestFile(
  agent: QgaConnection,
  path: string,
  content: Uint8Array,
  options: CallOptions,
): Promise<void> {
  await withHandle(agent, path, 'w', options, async (handle) => {
    for (let at = 0; at < content.byteLength;) {
      const chunk = content.subarray(at, at + FILE_CHUNK_BYTES)
      const args = { handle, 'buf-b64': Buffer.from(chunk).toString('base64'), count: chunk.byteLength }
      const answer = (await agent.command('guest-file-write', args, options)) as { count?: unknown }
      const written = answer?.count
      if (typeof written !== 'number' || written <= 0 || written > chunk.byteLength) {
        throw qgaFileError(agent.vm, path, `the agent wrote ${String(written)} of ${chunk.byteLength} bytes`)
      }
      at += written
    }
    await agent.command('guest-file-flush', { handle }, options)
  })
}

/** Opens a file for the time of `work`. The handle is closed on every way out, also when time is up. */
async function withHandle<T>(
  agent: QgaConnection,
  path: string,
  mode: 'r' | 'w',
  options: CallOptions,
  work: (handle: unknown) => Promise<T>,
): Promise<T> {
  let handle: unknown
  try {
    handle = await agent.command('guest-file-open', { path, mode }, options)
  } catch (error) {
    throw openFailure(agent.vm, path, error)
  }
  let result: T
  try {
    result = await work(handle)
  } catch (error) {
    // The first error is the one to tell; a handle that cannot be closed either adds nothing to it.
    await closeHandle(agent, handle).catch(() => {})
    throw error
  }
  await closeHandle(agent, handle)
  return result
}

async function closeHandle(agent: QgaConnection, handle: unknown): Promise<void> {
  await agent.command('guest-file-close', { handle }, { timeoutMs: CLOSE_TIMEOUT_MS })
}

function openFailure(vm: string, path: string, error: unknown): unknown {
  const { code, context } = error as { code?: string; context?: { desc?: string } }
  return code === 'ATP_QGA_EXECUTE' ? qgaFileError(vm, path, context?.desc ?? 'cannot be opened', error) : error
}
