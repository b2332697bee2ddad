import { unsupportedError } from '../core/index.ts'
import { deliveringBus, QmpInputPath, type Delivery, type InputHost, type VmInputDevice } from '../input/index.ts'
import { reconcile } from '../verify/index.ts'
import type { Observation } from './observation.ts'
import type { Sessions } from './sessions.ts'

/** What keyboard and mouse of one VM work with: QMP as the way in, the guest's evdev as the observer. */
export function inputHost(
  sessions: Sessions,
  observation: Observation,
  onDelivery: ((delivery: Delivery) => void) | undefined,
): InputHost {
  const vm = sessions.target.name
  // The device list of a running VM changes only by hot plugging, which nobody here does.
  let devices: Promise<VmInputDevice[]> | undefined
  const inputDevices = () => {
    devices ??= sessions.xml().then(({ inputs }) => inputs.flatMap(({ type, bus }) => inputDevice(type, bus)))
    devices.catch(() => (devices = undefined))
    return devices
  }
  return {
    vm,
    async path(target, { via = 'auto', device }) {
      if (via === 'spice') {
        throw unsupportedError('ATP_INPUT_VIA', `${vm}: input via SPICE is not available`, { remedy: "use via: 'qmp'" })
      }
      const present = await inputDevices()
      // Buttons and wheel go to the tablet where there is one.
      const pointer = present.some(({ type }) => type === 'tablet') ? 'tablet' : 'mouse'
      const bus = deliveringBus(vm, present, target === 'pointer' ? pointer : target, device)
      const qmp = await sessions.qmp()
      return new QmpInputPath((command, args, options) => qmp.execute(command, args, options), bus)
    },
    observe: (what, path, options) => observation.observe(what, path, options),
    reconcile,
    onDelivery,
  }
}

function inputDevice(type: string, bus: string | undefined): VmInputDevice[] {
  const known = type === 'keyboard' || type === 'mouse' || type === 'tablet'
  return known && (bus === 'ps2' || bus === 'usb' || bus === 'virtio') ? [{ type, bus }] : []
}
