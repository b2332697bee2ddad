import { randomUUID } from 'node:crypto'
import { messageOf, remoteError, withDeadline, type CallOptions } from '../framework/core/index.ts'
import type { Domain, LibvirtClient } from '../framework/protocols/libvirt/index.ts'
import { QgaClient } from '../framework/protocols/qga/index.ts'
import { connectUnix } from '../framework/transport/index.ts'
import {
  lineFraming,
  OPENING,
  parseFromAgent,
  type FromAgent,
  type InputDevice,
  type ServerMessage,
} from '../guest/protocol/index.ts'
import { VERIFIER_FILE, VERIFIER_LOG } from './image/guest-files.ts'
import { portSocket, type VmFiles } from './profile.ts'

const TIMEOUT_MS = 60_000
/** The first has the program do everything for the first time; the second shows that it is ready for another one. */
const CONVERSATIONS = 2
const AWAIT_END = (count: number) =>
  `until [ "$(grep -c 'ended the connection' ${VERIFIER_LOG})" -ge ${count} ]; do usleep 20000; done`
const DEVICES: readonly InputDevice[] = ['keyboard', 'mouse']

/**
 * Puts the guest verifier into a template, starts it at its virtio-serial port, and speaks with it as a test will. It
 * is part of the snapshot from then on: an emulated guest takes seconds to start Node.
 *
 * @throws `ATP_LAB_GUEST_VERIFIER` with the end of its log; `ATP_INTERRUPTED`.
 */
export async function startVerifier(
  client: LibvirtClient,
  domain: Domain,
  { files, bundle }: { files: VmFiles; bundle: string },
  options: CallOptions,
): Promise<void> {
  const { name } = domain
  const agent = new QgaClient({ name, agentCommand: (json, bounds) => client.agentCommand(domain, json, bounds) })
  const bounds = { timeoutMs: TIMEOUT_MS, ...options }
  try {
    await agent.writeFile(VERIFIER_FILE, bundle, bounds)
    await agent.shell(`atp-verifier --transport virtio-serial > ${VERIFIER_LOG} 2>&1 &`, bounds)
    for (let count = 1; count <= CONVERSATIONS; count++) {
      await withDeadline('its answers', bounds, (signal) => converse(files, domain, signal))
      // A port that is closed and opened at once looks to its reader as if nothing had happened.
      await agent.shell(AWAIT_END(count), bounds)
    }
  } catch (error) {
    if (options.signal?.aborted) throw error
    const log = await agent.shell(`tail -n 5 ${VERIFIER_LOG}`).then(({ stdoutText }) => stdoutText.trim(), messageOf)
    throw remoteError(
      'ATP_LAB_GUEST_VERIFIER',
      `the guest verifier of "${name}" cannot be used: ${messageOf(error)}; its log: ${log || 'empty'}`,
      { cause: error },
    )
  } finally {
    agent.close()
  }
}

/** Hello, the clock, an expectation for each device. Ends once everything is answered. */
async function converse(files: VmFiles, { uuid }: Domain, signal: AbortSignal): Promise<void> {
  const stream = await connectUnix(portSocket(files, 'atp.verifier.0'), { signal })
  const end = () => stream.destroy()
  signal.addEventListener('abort', end, { once: true })
  try {
    await new Promise<void>((resolve, reject) => {
      // A line end before each as well: the guest's side may begin to read in the middle.
      const send = (message: ServerMessage) =>
        void stream.write(Buffer.concat([OPENING, lineFraming.encode(message)])).catch(reject)
      const decoder = lineFraming.decoder()
      const unanswered = new Set<string>()
      const read = (answer: FromAgent) => {
        if (answer.kind === 'hello') {
          const { vm_id: vmId } = answer.message
          if (vmId !== uuid) reject(new Error(`it says it is in ${vmId}, and is in ${uuid}`))
          send({ v: 1, type: 'welcome' })
          unanswered.add('time')
          send({ v: 1, type: 'time', nonce: 1 })
          for (const device of DEVICES) {
            const eventId = randomUUID()
            unanswered.add(eventId)
            send({ v: 1, type: 'expect', event_id: eventId, device, add: [], last: true })
            send({ v: 1, type: 'release', event_id: eventId })
          }
        }
        if (answer.kind === 'time') unanswered.delete('time')
        if (answer.kind === 'result') {
          if (!answer.message.verified) reject(new Error(JSON.stringify(answer.message.details)))
          unanswered.delete(answer.message.event_id)
        }
        if (answer.kind !== 'hello' && unanswered.size === 0) resolve()
      }
      stream.start({
        onData: (chunk) => {
          try {
            for (const text of decoder.push(chunk)) read(parseFromAgent(text))
          } catch (error) {
            reject(error as Error)
          }
        },
        onClose: (error) => reject(error ?? new Error('the VM closed the port')),
      })
    })
  } finally {
    signal.removeEventListener('abort', end)
    stream.destroy()
  }
}
