import { messageOf, unsupportedError, type AtpError, type CallOptions } from '../core/index.ts'
import type { InputPathName } from '../evidence/events.ts'
import type { GuestClock } from './clock.ts'
import { EvdevObserver, type ObservationChannel } from './evdev-observer.ts'
import { parseInputDevices, type GuestInputDevice } from './input-devices.ts'

/** The ways into the guest that an observer needs. */
export interface ObservedGuest {
  /** Runs a line in the guest's `sh`. A non-zero exit is a result, not an error. */
  shell(
    line: string,
    options?: CallOptions,
  ): Promise<{ exitCode: number | undefined; stdoutText: string; stderrText: string }>
  /** A virtio-serial channel of the VM, opened on the host's side. */
  openChannel(name: string, options?: CallOptions): Promise<ObservationChannel>
  clock: GuestClock
}

export interface EvdevTarget {
  /** `keyboard`, or every `pointer`: tablet and mouse, since either may carry the buttons. */
  what: 'keyboard' | 'pointer'
  /** The bus of the keyboard that is typed on. Ignored for pointers. */
  device: InputPathName['device']
  /** Names of the VM's virtio-serial channels; those called `atp.evdev.N` are used. */
  channels: readonly string[]
}

const STEP_TIMEOUT_MS = 10_000
/** QEMU hands events to the device that was activated last; PS/2 devices are there from the start. */
const BUS_ORDER: readonly GuestInputDevice['bus'][] = ['virtio', 'usb', 'ps2']

/**
 * Starts observing the guest's kernel: opens one channel per input device and has the guest's `cat` stream the
 * device into it. Nothing is installed in the guest. Channel `atp.evdev.0` is the keyboard's, the others are
 * the pointers'. Whatever was begun is undone when a step fails.
 *
 * @throws `ATP_VERIFY_NO_DEVICE`, `ATP_VERIFY_NO_CHANNEL`, `ATP_VERIFY_GUEST`; `ATP_CLOCK…` from the clock.
 */
export async function startEvdevObserver(
  guest: ObservedGuest,
  target: EvdevTarget,
  options: CallOptions = {},
): Promise<EvdevObserver> {
  const bounds = { timeoutMs: STEP_TIMEOUT_MS, ...options }
  const devices = chooseDevices(await readDevices(guest, bounds), target)
  const names = chooseChannels(target, devices)
  const channels: ObservationChannel[] = []
  try {
    // The host's side first: the guest's kernel throws away what it writes to a port nobody listens on.
    for (const name of names) channels.push(await guest.openChannel(name, bounds))
    const pids = await startReaders(guest, devices, names, bounds)
    const observer = new EvdevObserver(channels, guest.clock, {
      alive: async (each) =>
        (await guest.shell(`kill -0 ${pids.join(' ')}`, { timeoutMs: STEP_TIMEOUT_MS, ...each })).exitCode === 0,
      stop: async () => stopReaders(guest, pids),
    })
    try {
      await guest.clock.refresh(options)
    } catch (error) {
      await observer.close()
      throw error
    }
    return observer
  } catch (error) {
    for (const channel of channels) channel.destroy()
    throw error
  }
}

async function readDevices(guest: ObservedGuest, bounds: CallOptions): Promise<GuestInputDevice[]> {
  const { exitCode, stdoutText, stderrText } = await guest.shell('cat /proc/bus/input/devices', bounds)
  if (exitCode !== 0) throw guestError('its input devices cannot be listed', stderrText)
  return parseInputDevices(stdoutText)
}

function chooseDevices(devices: readonly GuestInputDevice[], { what, device }: EvdevTarget): GuestInputDevice[] {
  const first = (kind: GuestInputDevice['kind'], buses: readonly GuestInputDevice['bus'][]) =>
    buses.flatMap((bus) => devices.find((each) => each.kind === kind && each.bus === bus) ?? []).slice(0, 1)
  const chosen =
    what === 'keyboard' ? first('keyboard', [device]) : [...first('tablet', BUS_ORDER), ...first('mouse', BUS_ORDER)]
  if (chosen.length > 0) return chosen
  throw unavailable(
    'ATP_VERIFY_NO_DEVICE',
    `the guest has no ${what === 'keyboard' ? `${device} keyboard` : 'pointer'}`,
    {
      devices: devices.map((each) => `${each.name} (${each.bus} ${each.kind})`),
      remedy: "give the VM that input device, and the guest its kernel's driver for it",
    },
  )
}

function chooseChannels({ what, channels }: EvdevTarget, devices: readonly GuestInputDevice[]): string[] {
  const numbered = channels
    .flatMap((name) => /^atp\.evdev\.(\d+)$/.exec(name)?.[1] ?? [])
    .map(Number)
    .toSorted((left, right) => left - right)
  const free = numbered.filter((number) => (what === 'keyboard' ? number === 0 : number > 0))
  if (free.length < devices.length) {
    throw unavailable('ATP_VERIFY_NO_CHANNEL', `the VM has too few virtio-serial channels to observe its ${what}`, {
      channels: [...channels],
      needed: devices.map((each) => each.name),
      remedy: 'add <channel> devices named atp.evdev.0 (keyboard), atp.evdev.1 and atp.evdev.2 (pointers) to its XML',
    })
  }
  return free.slice(0, devices.length).map((number) => `atp.evdev.${number}`)
}

/** Process ids of the guest's readers. When this resolves their devices are open: no event is missed from then on. */
async function startReaders(
  guest: ObservedGuest,
  devices: readonly GuestInputDevice[],
  channels: readonly string[],
  bounds: CallOptions,
): Promise<number[]> {
  // Everything is opened before anything runs, so that a failure leaves no reader behind.
  const opened = devices.flatMap(({ path }, index) => {
    const port = `/dev/virtio-ports/${channels[index]}`
    return [`(exec 9>${port}) 2>/dev/null || free ${port}`, `exec ${3 + 2 * index}<${path} ${4 + 2 * index}>${port}`]
  })
  const readers = devices.map((_, index) => `cat <&${3 + 2 * index} >&${4 + 2 * index} 2>/dev/null & echo $!`)
  // A port has one opener; a reader that outlived its session may hold it still.
  const free =
    'free() { port=$(readlink -f "$1"); for fd in /proc/[0-9]*/fd/*; do ' +
    'if [ "$(readlink "$fd")" = "$port" ]; then pid=${fd#/proc/}; kill "${pid%%/*}"; fi; done; ' +
    'for try in 1 2 3 4 5 6 7 8 9; do (exec 9>"$1") 2>/dev/null && return; sleep 0.1; done; }'
  const { exitCode, stdoutText, stderrText } = await guest.shell([free, ...opened, ...readers].join('\n'), bounds)
  const pids = stdoutText.trim().split('\n').map(Number)
  if (exitCode !== 0 || pids.length !== devices.length || !pids.every(Number.isInteger)) {
    throw guestError('its input devices cannot be streamed', stderrText || `exit code ${exitCode}`)
  }
  return pids
}

async function stopReaders(guest: ObservedGuest, pids: readonly number[]): Promise<void> {
  try {
    await guest.shell(`kill ${pids.join(' ')}`, { timeoutMs: STEP_TIMEOUT_MS })
  } catch (error) {
    throw guestError('its input readers cannot be stopped', messageOf(error), error)
  }
}

function guestError(what: string, detail: string, cause?: unknown): AtpError {
  return unsupportedError('ATP_VERIFY_GUEST', `the guest cannot be observed, ${what}: ${detail.trim().slice(0, 500)}`, {
    cause,
    verdict: 'infrastructure',
    remedy: 'observing needs a Linux guest whose agent runs as root, with sh, cat and readlink',
  })
}

function unavailable(
  code: `ATP_${string}`,
  message: string,
  { remedy, ...context }: Record<string, unknown> & { remedy: string },
): AtpError {
  return unsupportedError(code, message, { context, remedy, verdict: 'infrastructure' })
}
