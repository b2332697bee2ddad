import { spawn } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { isAtpError, messageOf, unsupportedError } from '../../../framework/core/errors.ts'
import {
  EV_ABS,
  EV_KEY,
  EV_REL,
  EV_SYN,
  EvdevDecoder,
  SYN_DROPPED,
  type EvdevRecord,
} from '../../../framework/verify/evdev.ts'
import type { SeenInput } from '../../core/index.ts'

const KINDS: Readonly<Record<number, SeenInput['kind']>> = { [EV_KEY]: 'key', [EV_ABS]: 'abs', [EV_REL]: 'rel' }
/** `REL_WHEEL_HI_RES`, `REL_HWHEEL_HI_RES`: the kernel's second report of a wheel's turn. */
const SECOND_REPORTS: ReadonlySet<number> = new Set([0x0b, 0x0c])

export interface EvdevReader {
  stop(): void
}

/**
 * Reads `/dev/input/eventN`: when this returns the device is open, so that no later input is missed.
 *
 * A blocking read of such a device would hold one of Node's four threads for good, and Node cannot poll it; a `cat`
 * in between makes a pipe of it.
 *
 * @param onEnd the device went away, or its reader; told once, not after `stop`.
 * @throws `ATP_VERIFIER_DEVICE`
 */
export function readEvdev(
  path: string,
  onInput: (input: SeenInput) => void,
  onGap: (reason: string) => void,
  onEnd: (reason: string) => void,
): EvdevReader {
  const device = open(path)
  const decoder = new EvdevDecoder()
  let over = false
  const end = (reason: string) => {
    if (over) return
    over = true
    onEnd(reason)
  }
  try {
    const reader = spawn('cat', { stdio: [device, 'pipe', 'ignore'] })
    reader.stdout?.on('data', (chunk: Buffer) => {
      if (over) return
      const records = recordsOf(decoder, chunk)
      if (!records) {
        end('it is not read as its kernel writes it')
        reader.kill('SIGKILL')
        return
      }
      for (const record of records) {
        if (record.type === EV_SYN && record.code === SYN_DROPPED) {
          onGap("the guest's kernel dropped input events (SYN_DROPPED)")
        }
        const input = inputOf(record)
        if (input) onInput(input)
      }
    })
    reader.on('error', (error) => end(messageOf(error)))
    reader.on('close', () => end('the device or its reader ended'))
    return {
      stop() {
        over = true
        reader.kill('SIGKILL')
      },
    }
  } finally {
    closeSync(device)
  }
}

function open(path: string): number {
  try {
    return openSync(path, 'r')
  } catch (error) {
    throw unsupportedError('ATP_VERIFIER_DEVICE', `${path} cannot be read: ${messageOf(error)}`, {
      remedy: 'run the agent as root, or as a member of the group "input"',
    })
  }
}

/** Undefined when they are none. */
function recordsOf(decoder: EvdevDecoder, chunk: Buffer): EvdevRecord[] | undefined {
  try {
    return decoder.push(chunk)
  } catch (error) {
    if (isAtpError(error, 'ATP_VERIFY_GARBAGE')) return undefined
    throw error
  }
}

function inputOf({ type, code, value, guestNs }: EvdevRecord): SeenInput | undefined {
  const kind = KINDS[type]
  if (kind === undefined || (kind === 'rel' && SECOND_REPORTS.has(code))) return undefined
  return { kind, code, value, guestNs }
}
