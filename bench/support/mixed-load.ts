import { randomBytes } from 'node:crypto'
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'
import { messageOf, sleep } from '../../framework/core/index.ts'
import type { DesktopVm } from '../../framework/desktop/index.ts'
import { guestExec } from '../../framework/protocols/qga/index.ts'
import type { VirtioSerialChannel } from '../../framework/protocols/virtio-serial/index.ts'

/** What a VM is asked to do: three kinds of calls to the daemon, and what needs the guest or the host to speak up. */
export const KINDS = ['monitor', 'state', 'agent', 'channel', 'events'] as const
export type Kind = (typeof KINDS)[number]

/** Turns of the monitor's rotation; every third asks libvirt for the VM's state instead. */
const ROTATION = ['query-status', 'query-version', undefined, 'query-status', 'query-cpus-fast', undefined]
/** Rhythms, per VM: an emulated guest takes 5 ms of a core for an agent command, and 1 ms to send a message back. */
const AGENT_EVERY_MS = 2000
const CHANNEL_EVERY_MS = 1000
/** Of the agent's turns, every such one pauses the VM and lets it run again: the agent cannot answer meanwhile. */
const TURNS_PER_PAUSE = 10
const PORT = 'atp.channel.0'
/** Reads its end whenever the host closes the channel, and goes on with whoever opens it next. */
const ECHO = `exec 3<>/dev/virtio-ports/${PORT}; while :; do cat <&3 >&3; usleep 100000; done`
const LONGEST_MESSAGE_BYTES = 1024
const STEP_TIMEOUT_MS = 30_000
const PAUSE_AFTER_ERROR_MS = 500
const ERRORS_KEPT = 20

/** What came of the load of many VMs: counts, round trips, and the first errors. */
export class LoadTally {
  readonly counts: Record<Kind, number> = { monitor: 0, state: 0, agent: 0, channel: 0, events: 0 }
  readonly trips: Record<Kind, RecordableHistogram>
  readonly firstErrors: string[] = []
  errors = 0

  constructor() {
    const trip = () => createHistogram({ lowest: 1, highest: 2 * STEP_TIMEOUT_MS * 1e6, figures: 3 })
    this.trips = { monitor: trip(), state: trip(), agent: trip(), channel: trip(), events: trip() }
  }

  /** Calls answered by the daemon. Messages on channels and events are not among them. */
  get calls(): number {
    return this.counts.monitor + this.counts.state + this.counts.agent
  }

  done(kind: Kind, startedMs: number): void {
    this.counts[kind]++
    this.trips[kind].record(Math.max(1, Math.round((performance.now() - startedMs) * 1e6)))
  }

  failed(kind: Kind, vm: string, error: unknown): void {
    this.errors++
    if (this.firstErrors.length < ERRORS_KEPT) this.firstErrors.push(`${vm} ${kind}: ${messageOf(error)}`)
  }
}

/** The sessions of one VM, opened and kept: QMP, guest agent, and a channel whose other end sends everything back. */
export async function openLoad(vm: DesktopVm, signal?: AbortSignal) {
  const bounds = { signal, timeoutMs: STEP_TIMEOUT_MS }
  const [qmp, qga] = [await vm.qmp(bounds), await vm.qga(bounds)]
  const channel = await openEcho(vm, signal)
  await qga.exec(guestExec('/bin/sh', { args: ['-c', ECHO], captureOutput: false }), bounds)
  return { vm, qmp, qga, channel }
}

/** The channel alone, again after it was lost. */
export function openEcho(vm: DesktopVm, signal?: AbortSignal): Promise<VirtioSerialChannel> {
  return vm.serial(PORT, {}, { signal, timeoutMs: STEP_TIMEOUT_MS })
}

/** One message there and back. */
export async function echo(channel: VirtioSerialChannel, said: string): Promise<void> {
  const bounds = { timeoutMs: STEP_TIMEOUT_MS }
  await channel.send(Buffer.from(said), bounds)
  const heard = Buffer.from(await channel.receive(bounds)).toString('utf8')
  if (heard !== said) throw new Error(`"${heard.slice(0, 40)}" came back instead of "${said.slice(0, 40)}"`)
}

export type Load = Awaited<ReturnType<typeof openLoad>>

/**
 * Keeps one VM busy in all ways until the signal. What fails does not end it: the tally counts.
 *
 * @param monitorEveryMs rhythm of monitor and state; 0: one follows the other at once.
 */
export async function runLoad(
  { vm, qmp, qga, channel }: Load,
  tally: LoadTally,
  { until, monitorEveryMs }: { until: AbortSignal; monitorEveryMs: number },
): Promise<void> {
  // Without the signal: what is under way when time is up still has to succeed.
  const bounds = { timeoutMs: STEP_TIMEOUT_MS }
  const count = async (kind: Kind, work: () => Promise<unknown>) => {
    const started = performance.now()
    try {
      await work()
      tally.done(kind, started)
    } catch (error) {
      tally.failed(kind, vm.name, error)
      await sleep(PAUSE_AFTER_ERROR_MS)
    }
  }
  const every = async (periodMs: number, turn: (round: number) => Promise<void>) => {
    // Not all VMs at the same moment.
    let atMs = performance.now() + Math.random() * periodMs
    for (let round = 1; ; round++, atMs = Math.max(atMs + periodMs, performance.now())) {
      if (periodMs > 0) await sleep(Math.max(0, atMs - performance.now()), until).catch(() => {})
      if (until.aborted) return
      await turn(round)
    }
  }
  const monitor = (round: number) => {
    const command = ROTATION[round % ROTATION.length]
    return command === undefined
      ? count('state', () => vm.state(bounds))
      : count('monitor', () => qmp.execute(command, undefined, bounds))
  }
  const pauseAndGoOn = async () => {
    const events = [qmp.waitForEvent('STOP', bounds), qmp.waitForEvent('RESUME', bounds)]
    await Promise.all([...events, vm.suspend(bounds).then(() => vm.resume(bounds))])
  }
  const agent = (round: number) =>
    round % TURNS_PER_PAUSE === 0
      ? count('events', pauseAndGoOn)
      : count('agent', () => (round % 2 === 0 ? qga.getTime(bounds) : qga.ping(bounds)))
  const message = (round: number) =>
    `${round} ${randomBytes(Math.ceil((Math.random() * LONGEST_MESSAGE_BYTES) / 2)).toString('hex')}`
  await Promise.all([
    every(monitorEveryMs, monitor),
    every(AGENT_EVERY_MS, agent),
    every(CHANNEL_EVERY_MS, (round) => count('channel', () => echo(channel, message(round)))),
  ])
}

/** Everything that was opened is open still, and the VM runs. */
export async function checkLoad({ vm, qmp, qga, channel }: Load): Promise<void> {
  const state = await vm.state({ timeoutMs: STEP_TIMEOUT_MS })
  if (state !== 'running') throw new Error(`${vm.name} is ${state}`)
  if (qmp.closed || qga.closed || channel.closed) throw new Error(`a session of ${vm.name} is closed`)
}
