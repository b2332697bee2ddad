import { configError } from '../../core/index.ts'
import { usbKeyboard, usbMouse, usbStorage } from '../../desktop/index.ts'
import { NAME, type JsonSchema } from '../model/index.ts'
import { defineStep, type StepParams } from '../step-kind.ts'

const DEVICE: JsonSchema = { enum: ['keyboard', 'mouse', 'storage'] }

export const usbRedirect = defineStep({
  action: 'usb.redirect',
  summary: 'Plugs a USB device made in software into the VM over SPICE and waits until the guest has taken it into use',
  params: {
    properties: {
      device: { ...DEVICE, description: 'What is plugged in' },
      file: { ...NAME, description: 'Content of the storage: a file on this machine, a multiple of 512 bytes long' },
    },
    required: ['device'],
  },
  needs: ['vm'],
  check({ device, file }) {
    // A storage's file may not be known before the run.
    const fault = device === 'storage' ? undefined : fileFault({ device, file })
    return fault ? [{ param: 'file', error: fault }] : []
  },
  async run({ vm, call }, params) {
    const fault = fileFault(params)
    if (fault) throw fault
    const ports = await vm.usb(call)
    const { port, device } = await ports.plug(deviceOf(params), call)
    return { note: `${device.name} in port ${port}`, output: { device: device.name, port } }
  },
})

export const usbRelease = defineStep({
  action: 'usb.release',
  summary: 'Unplugs the USB devices of one kind, or all, that usb.redirect plugged in',
  params: { properties: { device: { ...DEVICE, description: 'What is unplugged; default everything' } } },
  needs: ['vm'],
  async run({ vm, call }, { device }) {
    const ports = await vm.usb(call)
    const chosen = ports.plugged.filter((each) => device === undefined || each.device.name === device)
    if (chosen.length === 0) {
      throw configError('ATP_SCENARIO_VALUE', `no USB ${String(device ?? 'device')} is plugged into ${vm.name}`, {
        remedy: 'plug it in with usb.redirect first',
      })
    }
    for (const each of chosen) await each.unplug(call)
    return { note: chosen.map((each) => `${each.device.name} from port ${each.port}`).join(', ') }
  },
})

/** A storage has a file, and nothing else has. */
function fileFault({ device, file }: StepParams): Error | undefined {
  if ((device === 'storage') === (file !== undefined)) return undefined
  const message = device === 'storage' ? 'storage needs a file' : `a ${String(device)} has no file`
  return configError('ATP_SCENARIO_VALUE', `usb.redirect: ${message}`)
}

function deviceOf({ device, file }: StepParams) {
  if (device === 'keyboard') return usbKeyboard()
  return device === 'mouse' ? usbMouse() : usbStorage({ file: file as string })
}
