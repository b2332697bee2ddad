import { randomBytes } from 'node:crypto'
import { isAtpError, messageOf, remoteError, withDeadline, type CallOptions } from '../framework/core/index.ts'
import type { Domain } from '../framework/protocols/libvirt/index.ts'
import { connectUnix } from '../framework/transport/index.ts'
import {
  HOST_NAME_BYTES,
  IDENTITY_ANSWER,
  IDENTITY_ANSWER_BYTES,
  IDENTITY_PORT,
  IDENTITY_RECORD,
  IDENTITY_RECORD_BYTES,
} from './image/identity-program.ts'
import { portSocket, type VmFiles } from './profile.ts'

const TIMEOUT_MS = 20_000
const MOST_BYTES = 4096
const NONCE_BYTES = 8

/**
 * Gives the guest what twins share and must not: host name, machine id, DMI UUID, the time of day. A name longer than a host
 * name may be is cut.
 *
 * @throws `ATP_LAB_GUEST_IDENTITY` when the guest refuses, or does not answer in time; `ATP_INTERRUPTED`.
 */
export async function giveIdentity(domain: Domain, files: VmFiles, options: CallOptions): Promise<void> {
  await tell(domain, files, domain, options)
}

/**
 * Sets the guest's clock to the host's.
 *
 * @throws as {@link giveIdentity} does.
 */
export async function setClock(domain: Domain, files: VmFiles, options: CallOptions): Promise<void> {
  await tell(domain, files, undefined, options)
}

async function tell(
  { name }: Domain,
  files: VmFiles,
  identity: Domain | undefined,
  options: CallOptions,
): Promise<void> {
  const what = identity ? `giving "${name}" its identity` : `setting the clock of "${name}"`
  try {
    await withDeadline(what, { timeoutMs: TIMEOUT_MS, ...options }, async (signal) => {
      await exchange(files, (nonce) => identityRecord(nonce, Date.now(), identity), signal)
    })
  } catch (error) {
    if (options.signal?.aborted && isAtpError(error, 'ATP_INTERRUPTED')) throw error
    throw remoteError('ATP_LAB_GUEST_IDENTITY', `${what} failed: ${messageOf(error)}`, { cause: error })
  }
}

/** Sends one record and waits for its answer. The record is made once the guest is awake: it holds the time. */
async function exchange(files: VmFiles, makeRecord: (nonce: Buffer) => Buffer, signal: AbortSignal): Promise<void> {
  const stream = await connectUnix(portSocket(files, IDENTITY_PORT), { signal })
  const end = () => stream.destroy()
  signal.addEventListener('abort', end, { once: true })
  const nonce = randomBytes(NONCE_BYTES)
  try {
    const status = await new Promise<bigint>((resolve, reject) => {
      let received = Buffer.alloc(0)
      let sent = false
      stream.start({
        onData(chunk) {
          received = Buffer.concat([received, chunk])
          if (received.length > MOST_BYTES) reject(new Error(`the guest answered more than ${MOST_BYTES} bytes`))
          if (!sent && received.length >= IDENTITY_ANSWER_BYTES) {
            sent = true
            stream.write(makeRecord(nonce)).catch(reject)
          }
          const at = received.indexOf(nonce) - IDENTITY_ANSWER.nonce
          if (at >= 0) resolve(received.readBigInt64LE(at + IDENTITY_ANSWER.status))
        },
        onClose: (error) => reject(error ?? new Error('the VM closed the port')),
      })
    })
    if (status < 0n) throw new Error(`the guest's kernel answered error ${-status}`)
  } finally {
    signal.removeEventListener('abort', end)
    stream.destroy()
  }
}

/** One record of `image/identity-program.ts`; without `identity` it holds the time only. */
export function identityRecord(
  nonce: Uint8Array,
  timeMs: number,
  identity?: { name: string; uuid: string },
): Buffer<ArrayBuffer> {
  const record = Buffer.alloc(IDENTITY_RECORD_BYTES)
  record.set(nonce, IDENTITY_RECORD.nonce)
  record.writeBigUInt64LE(BigInt(Math.floor(timeMs / 1000)), IDENTITY_RECORD.seconds)
  record.writeBigUInt64LE(BigInt((timeMs % 1000) * 1e6), IDENTITY_RECORD.nanoseconds)
  if (identity) {
    const room = record.subarray(IDENTITY_RECORD.name, IDENTITY_RECORD.name + HOST_NAME_BYTES)
    // Whole characters only.
    const { written } = new TextEncoder().encodeInto(identity.name, room)
    record.writeBigUInt64LE(BigInt(written), IDENTITY_RECORD.nameLength)
    record.write(`${identity.uuid.replaceAll('-', '')}\n`, IDENTITY_RECORD.machineId, 'latin1')
    record.write(`${identity.uuid}\n`, IDENTITY_RECORD.machineUuid, 'latin1')
  }
  return record
}
