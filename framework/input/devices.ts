import { unsupportedError } from '../core/index.ts'
import type { InputPathName } from '../evidence/events.ts'

/** An `<input>` device of a domain's XML. */
export interface VmInputDevice {
  type: 'keyboard' | 'mouse' | 'tablet'
  bus: InputPathName['device']
}

/**
 * The bus of the device that QEMU hands this kind of input to: the first virtio or USB device of the XML, else
 * PS/2, which every PC has. QEMU's QMP offers no way to choose another. `pointer` is a tablet or a mouse: either
 * carries buttons.
 *
 * @throws `ATP_INPUT_DEVICE` when the VM has none, or when `requested` is not the one that gets the input.
 */
export function deliveringBus(
  vm: string,
  devices: readonly VmInputDevice[],
  type: VmInputDevice['type'] | 'pointer',
  requested: 'auto' | InputPathName['device'] = 'auto',
): InputPathName['device'] {
  const ofType = devices.filter((device) => (type === 'pointer' ? device.type !== 'keyboard' : device.type === type))
  const chosen = ofType.find((device) => device.bus !== 'ps2') ?? ofType[0]
  if (!chosen) {
    throw unsupportedError('ATP_INPUT_DEVICE', `${vm} has no ${type}`, {
      context: { vm, devices: ofType },
      remedy:
        type === 'tablet'
          ? "absolute positions need <input type='tablet' bus='virtio'/> (or bus='usb') in the VM's XML; mouse.moveBy works without"
          : `give the VM an <input type='${type}'> device`,
    })
  }
  if (requested === 'auto' || requested === chosen.bus) return chosen.bus
  throw unsupportedError(
    'ATP_INPUT_DEVICE',
    `${vm}: input for a ${requested} ${type} was asked for, but QEMU hands it to the ${chosen.bus} ${type}`,
    {
      context: { vm, requested, delivering: chosen.bus, devices: ofType },
      remedy: `use device: '${chosen.bus}', or a machine profile whose ${type} is ${requested}`,
    },
  )
}
