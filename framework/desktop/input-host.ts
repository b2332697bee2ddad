import { pollUntil, unsupportedError, type CallOptions } from '../core/index.ts'
import type { InputPathName } from '../evidence/events.ts'
import {
  deliveringBus,
  QmpInputPath,
  SpiceInputPath,
  type Delivery,
  type InputDefaults,
  type InputHost,
  type QmpExecute,
  type VmInputDevice,
} from '../input/index.ts'
import type { MainChannel, MouseMode } from '../protocols/spice/index.ts'
import { reconcile } from '../verify/index.ts'
import type { Observation } from './observation.ts'
import { LazySession } from './lazy-session.ts'
import type { Sessions } from './sessions.ts'
import { unicodeRouteOf } from './unicode-route.ts'

type Target = Parameters<InputHost['path']>[0]

const MOUSE_MODE_TIMEOUT_MS = 2000

/** What keyboard and mouse of one VM work with: QMP or SPICE as the way in, the guest's evdev as the observer. */
export function inputHost(
  sessions: Sessions,
  observation: Observation,
  screenSize: (options: CallOptions) => Promise<{ width: number; height: number }>,
  { onDelivery, defaults = {} }: { onDelivery?: ((delivery: Delivery) => void) | undefined; defaults?: InputDefaults },
): InputHost {
  const vm = sessions.target.name
  // The device list of a running VM changes only by hot plugging, which nobody here does.
  let devices: Promise<VmInputDevice[]> | undefined
  const inputDevices = () => {
    devices ??= sessions.xml().then(({ inputs }) => inputs.flatMap(({ type, bus }) => inputDevice(type, bus)))
    devices.catch(() => (devices = undefined))
    return devices
  }
  // One for all input: each opens a session of its own.
  const socket = new LazySession({
    what: `the QMP socket of ${vm}`,
    open: () => sessions.qmpSocket(),
    close: (client) => client.close(),
    alive: (client) => !client.closed,
  })
  const at = { x: 0, y: 0 }
  const spicePath = async (target: Target, bus: InputPathName['device']) => {
    const session = await sessions.spice()
    const inputs = await session.inputs()
    if (target === 'keyboard') return new SpiceInputPath(inputs, bus)
    // Positions are pixels in client mode; motion is that of a mouse in server mode. Buttons go in either.
    if (target !== 'pointer') await useMouseMode(vm, session.main, target === 'tablet' ? 'client' : 'server')
    return new SpiceInputPath(inputs, bus, target === 'tablet' ? { screen: await screenSize({}), at } : undefined)
  }
  return {
    vm,
    async path(target, { via = 'auto', device }) {
      const present = await inputDevices()
      // Buttons and wheel go to the tablet where there is one.
      const pointer = present.some(({ type }) => type === 'tablet') ? 'tablet' : 'mouse'
      const bus = deliveringBus(vm, present, target === 'pointer' ? pointer : target, device)
      if (via === 'spice') return spicePath(target, bus)
      const qmp = await (via === 'qmp-socket' ? socket.get() : sessions.qmp())
      const execute: QmpExecute = (command, args, options) => qmp.execute(command, args, options)
      return new QmpInputPath(execute, bus, via === 'qmp-socket' ? via : 'qmp')
    },
    observe: (what, path, options) => observation.observe(what, path, options),
    defaults,
    reconcile,
    unicodeRoute: async (options) => unicodeRouteOf(vm, await sessions.qga(options), options),
    onDelivery,
  }
}

/** @throws `ATP_INPUT_VIA` when the server does not follow: without a tablet there is no client mode. */
async function useMouseMode(vm: string, main: MainChannel, mode: MouseMode): Promise<void> {
  if (main.mouseMode === mode) return
  await main.requestMouseMode(mode)
  const bounds = { timeoutMs: MOUSE_MODE_TIMEOUT_MS, intervalMs: 2, maxIntervalMs: 20 }
  try {
    await pollUntil(`mouse mode ${mode}`, bounds, async () => main.mouseMode === mode || undefined)
  } catch (cause) {
    throw unsupportedError('ATP_INPUT_VIA', `${vm}: its SPICE server stays in ${main.mouseMode} mouse mode`, {
      cause,
      remedy: mode === 'client' ? "give the VM a tablet, or use via: 'qmp'" : "use via: 'qmp'",
    })
  }
}

function inputDevice(type: string, bus: string | undefined): VmInputDevice[] {
  const known = type === 'keyboard' || type === 'mouse' || type === 'tablet'
  return known && (bus === 'ps2' || bus === 'usb' || bus === 'virtio') ? [{ type, bus }] : []
}
