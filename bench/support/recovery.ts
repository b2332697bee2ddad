/**
 * The client's side of `bench recover`, in a thread of its own: whoever starts the daemon blocks its thread meanwhile.
 * Receives a {@link Task}, answers with a {@link Recovery}, and asks for the daemon with the word `launch`.
 */
import { connect } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { sleep } from '../../framework/core/index.ts'
import { HostConnection, type HostInfo } from '../../framework/hosts/index.ts'
import type { Domain } from '../../framework/protocols/libvirt/index.ts'

/** What a thread works with: a host and a VM on it with a guest. */
export interface Scene {
  host: HostInfo
  vm: Domain
  /** What says that the daemon is back as soon as it takes connections. */
  accepts: { path: string } | { host: string; port: number }
}

export interface Task {
  daemonPid: number
  qemuPid: number
}

/** Milliseconds. */
export interface Recovery {
  /** From the daemon's death to the rejection of the last pending call. */
  rejectMs: number
  /** From the first connection the new daemon took to the monitor's, the guest agent's answer, an event. */
  usableMs: number
  agentMs: number
  eventMs: number
}

const PENDING_CALLS = 50
const TIMEOUT_MS = 60_000
const QUERY = '{"execute":"query-status"}'

async function begin({ host: info, vm, accepts }: Scene): Promise<void> {
  const host = await HostConnection.open(info)
  const target = await host.target(vm)
  const events: { name: string; atMs: number }[] = []
  await target.onMonitorEvent(({ event }) => events.push({ name: event, atMs: performance.now() }))
  await target.monitorCommand(QUERY)
  await target.agentCommand('{"execute":"guest-ping"}', { timeoutMs: TIMEOUT_MS })

  const recover = async ({ daemonPid, qemuPid }: Task): Promise<Recovery> => {
    events.length = 0
    // Calls to a VM that hangs stay pending.
    process.kill(qemuPid, 'SIGSTOP')
    const pending = Array.from({ length: PENDING_CALLS }, async () => {
      const answered = await target.monitorCommand(QUERY, { timeoutMs: TIMEOUT_MS }).then(
        () => true,
        () => false,
      )
      return { answered, atMs: performance.now() }
    })
    // An answer on the same connection: the calls before it were sent.
    await (await host.client('calls')).getState(vm)
    const sent = host.stats().roles.calls
    if (!sent || sent.pending < PENDING_CALLS || sent.inFlight === 0) throw new Error('the calls are not under way')
    const killedMs = performance.now()
    process.kill(daemonPid, 'SIGKILL')
    const ends = await Promise.all(pending)
    if (ends.some(({ answered }) => answered)) throw new Error('a call of a daemon that was killed was answered')
    process.kill(qemuPid, 'SIGCONT')
    const rejectMs = Math.max(...ends.map(({ atMs }) => atMs)) - killedMs

    // Waits for the connection, as a test would that goes on with its VM.
    const monitor = target.monitorCommand(QUERY, { timeoutMs: TIMEOUT_MS }).then(() => performance.now())
    parentPort?.postMessage('launch')
    const backMs = await accepted(accepts)
    const monitorMs = await monitor
    await target.agentCommand('{"execute":"guest-ping"}', { timeoutMs: TIMEOUT_MS })
    const agentMs = performance.now()
    await target.monitorCommand('{"execute":"stop"}', { timeoutMs: TIMEOUT_MS })
    await target.monitorCommand('{"execute":"cont"}', { timeoutMs: TIMEOUT_MS })
    while (!events.some(({ name }) => name === 'STOP')) await sleep(1, AbortSignal.timeout(TIMEOUT_MS))
    const eventMs = (events[0] as (typeof events)[0]).atMs
    return { rejectMs, usableMs: monitorMs - backMs, agentMs: agentMs - backMs, eventMs: eventMs - backMs }
  }
  parentPort?.on('message', (task: Task | 'end') => {
    if (task === 'end') return void host.close().then(() => parentPort?.close())
    recover(task).then(
      (recovery) => parentPort?.postMessage(recovery),
      (error: unknown) => {
        throw error
      },
    )
  })
  parentPort?.postMessage('ready')
}

/** When the daemon first took a connection. */
async function accepted(address: Scene['accepts']): Promise<number> {
  for (;;) {
    const socket = connect(address)
    const taken = await new Promise<boolean>((resolve) => {
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    })
    const atMs = performance.now()
    socket.destroy()
    if (taken) return atMs
    await sleep(1)
  }
}

await begin(workerData as Scene)
