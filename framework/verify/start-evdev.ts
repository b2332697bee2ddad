import { logger, messageOf, unsupportedError, type AtpError, type CallOptions } from '../core/index.ts'
import type { InputPathName } from '../evidence/events.ts'
import type { GuestClock } from './clock.ts'
import { CLOCK_PORT, ClockEcho, clockEchoScript } from './clock-echo.ts'
import { EvdevObserver, type ObservationChannel } from './evdev-observer.ts'
import { guestError, startReaders, type GuestShell } from './evdev-readers.ts'
import { parseInputDevices, type GuestInputDevice } from './input-devices.ts'

/** The ways into the guest that an observer needs. */
export interface ObservedGuest {
  /** Runs a line in the guest's `sh`. */
  shell: GuestShell
  /** A virtio-serial channel of the VM, opened on the host's side. */
  openChannel(name: string, options?: CallOptions): Promise<ObservationChannel>
  clock: GuestClock
}

export interface EvdevTarget {
  /** `keyboard`, or every `pointer`: tablet and mouse, since either may carry the buttons. */
  what: 'keyboard' | 'pointer'
  /** The bus of the keyboard that is typed on. Ignored for pointers. */
  device: InputPathName['device']
  /** Names of the VM's virtio-serial channels; those called `atp.evdev.N` are used, and `atp.clock.0` if it is there. */
  channels: readonly string[]
}

/** With 50 observers starting at once on two cores that emulate their guests, a shell takes ten seconds. */
const STEP_TIMEOUT_MS = 30_000
const GREETING_TIMEOUT_MS = 10_000
/** QEMU hands events to the device that was activated last; PS/2 devices are there from the start. */
const BUS_ORDER: readonly GuestInputDevice['bus'][] = ['virtio', 'usb', 'ps2']

/**
 * Starts observing the guest's kernel: opens one channel per input device and has the guest's `cat` stream the
 * device into it. Nothing is installed in the guest. Channel `atp.evdev.0` is the keyboard's, the others are
 * the pointers'. Whatever was begun is undone when a step fails. Channel `atp.clock.0` becomes the clock's source where
 * the guest can run the program for it; it stays the clock's.
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
    const echo = await openEcho(guest, target, bounds)
    const readers = await startReaders(guest.shell, devices, names, {
      ...bounds,
      before: echo ? clockEchoScript() : [],
    }).catch((error: unknown) => {
      echo?.close()
      throw error
    })
    const observer = new EvdevObserver(channels, guest.clock, readers)
    try {
      if (echo) await guest.clock.prefer(echo, { signal: options.signal })
      await observer.greeted({ timeoutMs: GREETING_TIMEOUT_MS, ...options })
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

/** Undefined where the clock has its echo, the VM lacks the port, or somebody else holds it. */
async function openEcho(
  guest: ObservedGuest,
  { channels }: EvdevTarget,
  bounds: CallOptions,
): Promise<ClockEcho | undefined> {
  if (!guest.clock.wantsBetter || !channels.includes(CLOCK_PORT)) return undefined
  try {
    return new ClockEcho(await guest.openChannel(CLOCK_PORT, bounds))
  } catch (error) {
    if (bounds.signal?.aborted) throw error
    logger('input').debug('the guest clock has no echo: {reason}', { reason: messageOf(error) })
    return undefined
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

function unavailable(
  code: `ATP_${string}`,
  message: string,
  { remedy, ...context }: Record<string, unknown> & { remedy: string },
): AtpError {
  return unsupportedError(code, message, { context, remedy, verdict: 'infrastructure' })
}
