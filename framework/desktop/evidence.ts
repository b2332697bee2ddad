import { open } from 'node:fs/promises'
import { messageOf, redact, type CallOptions } from '../core/index.ts'
import type { Machine } from './machine.ts'
import type { Sessions } from './sessions.ts'

/** Takes one piece of evidence. */
export type Attach = (name: string, contentType: string, content: string | Uint8Array) => void

const SERIAL_TAIL_BYTES = 256 * 1024
/** A host that is not connected is not waited for as long as whoever collects waits: the rest is worth having. */
const HOST_TIMEOUT_MS = 8000

/**
 * Hands out what shows the state of a VM: screen, serial console, protocol transcript. A piece that cannot be had
 * is replaced by a note that says why; nothing here rejects.
 */
export async function collectEvidence(
  machine: Machine,
  sessions: Sessions,
  attach: Attach,
  { signal, timeoutMs = HOST_TIMEOUT_MS }: CallOptions = {},
): Promise<void> {
  const options = { signal, timeoutMs }
  const screen = async (): Promise<Piece> => {
    const { contentType, bytes } = await machine.screenshot(options)
    return [contentType, bytes]
  }
  const serialConsole = async (): Promise<Piece> => {
    const path = (await sessions.xml(options)).serialLogPath
    if (path === undefined) throw new Error("the VM's serial console is not logged to a file")
    const text = await tail(path, SERIAL_TAIL_BYTES)
    if (text === '') throw new Error('nothing was printed on the serial console since the VM was made')
    return ['text/plain', redact(text)]
  }
  const transcript = async (): Promise<Piece> =>
    sessions.transcript.entries.length > 0 ? ['application/jsonl', sessions.transcript.toJsonLines()] : undefined
  // Asked for together: what is not there may take its time, and must not take that of the others.
  const pieces = Object.entries({
    screen: screen(),
    'serial console': serialConsole(),
    'protocol transcript': transcript(),
  })
  await Promise.allSettled(pieces.map(([, piece]) => piece))
  for (const [name, piece] of pieces) {
    try {
      const found = await piece
      if (found) attach(name, ...found)
    } catch (error) {
      attach(`${name} (missing)`, 'text/plain', redact(messageOf(error)))
    }
  }
}

/** Content type and content. */
type Piece = [contentType: string, content: string | Uint8Array] | undefined

/** The end of a text file. */
async function tail(path: string, sizeBytes: number): Promise<string> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    const { buffer, bytesRead } = await file.read({
      buffer: Buffer.alloc(Math.min(size, sizeBytes)),
      position: Math.max(0, size - sizeBytes),
    })
    return buffer.subarray(0, bytesRead).toString('utf8')
  } finally {
    await file.close()
  }
}
