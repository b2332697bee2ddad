import { open } from 'node:fs/promises'
import { messageOf, redact, type CallOptions } from '../core/index.ts'
import type { Machine } from './machine.ts'
import type { Sessions } from './sessions.ts'

/** Takes one piece of evidence. */
export type Attach = (name: string, contentType: string, content: string | Uint8Array) => void

const SERIAL_TAIL_BYTES = 256 * 1024

/**
 * Hands out what shows the state of a VM: screen, serial console, protocol transcript. A piece that cannot be had
 * is replaced by a note that says why; nothing here rejects.
 */
export async function collectEvidence(
  machine: Machine,
  sessions: Sessions,
  attach: Attach,
  options: CallOptions = {},
): Promise<void> {
  const pieces: [string, () => Promise<void>][] = [
    [
      'screen',
      async () => {
        const { contentType, bytes } = await machine.screenshot(options)
        attach('screen', contentType, bytes)
      },
    ],
    [
      'serial console',
      async () => {
        const path = (await sessions.xml()).serialLogPath
        if (path === undefined) throw new Error("the VM's serial console is not logged to a file")
        const text = await tail(path, SERIAL_TAIL_BYTES)
        if (text === '') throw new Error('nothing was printed on the serial console since the VM was made')
        attach('serial console', 'text/plain', redact(text))
      },
    ],
    [
      'protocol transcript',
      async () => {
        if (sessions.transcript.entries.length === 0) return
        attach('protocol transcript', 'application/jsonl', sessions.transcript.toJsonLines())
      },
    ],
  ]
  for (const [name, collect] of pieces) {
    try {
      await collect()
    } catch (error) {
      attach(`${name} (missing)`, 'text/plain', redact(messageOf(error)))
    }
  }
}

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
