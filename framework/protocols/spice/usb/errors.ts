import { configError, stateError, timeoutError, unsupportedError, type AtpError } from '../../../core/errors.ts'

/** The VM's own rules, or its controller, do not let the device in. */
export function deviceRefusedError(place: string, device: string): AtpError {
  return unsupportedError('ATP_SPICE_USB_REFUSED', `${place}: the VM refuses the ${device}`, {
    context: { place, device },
    verdict: 'infrastructure',
    remedy: 'look at the <redirfilter> of the VM, and that its USB controller is at least USB 2 (qemu-xhci)',
  })
}

/** The guest did not choose the device's configuration. */
export function deviceIgnoredError(place: string, device: string, timeoutMs: number, cause: unknown): AtpError {
  return timeoutError(
    'ATP_SPICE_USB_IGNORED',
    `${place}: the guest did not take the ${device} into use within ${timeoutMs} ms`,
    { cause, context: { place, device, timeoutMs }, remedy: 'the guest must have booted and know its USB controller' },
  )
}

/** The VM did not let go of a device. */
export function deviceHeldError(place: string, device: string, timeoutMs: number, cause: unknown): AtpError {
  return timeoutError('ATP_SPICE_USB_HELD', `${place}: the VM did not let go of the ${device} within ${timeoutMs} ms`, {
    cause,
    context: { place, device, timeoutMs },
    remedy: 'resume the VM if it is suspended: the device leaves by itself then',
  })
}

/** All ports that the VM redirects USB to have a device, or it has none. */
export function noPortError(vm: string, ports: number): AtpError {
  return unsupportedError('ATP_SPICE_USB_NO_PORT', `"${vm}" has no free port for a USB device (of ${ports})`, {
    context: { vm, ports },
    remedy: "unplug a device, or give the VM another <redirdev bus='usb' type='spicevmc'/>",
  })
}

/** A device is in one port at a time. */
export function alreadyPluggedError(device: string): AtpError {
  return stateError('ATP_SPICE_USB_PLUGGED', `this ${device} is plugged in already`, {
    context: { device },
    remedy: 'unplug it first, or make another one',
  })
}

/** The device is in no port. */
export function unpluggedError(device: string, cause?: unknown): AtpError {
  return stateError('ATP_SPICE_USB_UNPLUGGED', `the ${device} is not plugged in`, { cause, context: { device } })
}

/** No driver of the guest asks the device for reports. */
export function unreadError(device: string, timeoutMs: number, cause: unknown): AtpError {
  return timeoutError('ATP_SPICE_USB_UNREAD', `nothing in the guest reads the ${device} (for ${timeoutMs} ms)`, {
    cause,
    context: { device, timeoutMs },
    remedy: 'a Linux guest asks a mouse only while a program has its event device open',
  })
}

/** A name that is no key of a USB keyboard. */
export function unknownKeyError(code: string): AtpError {
  return configError('ATP_SPICE_USB_KEY', `a USB keyboard has no key "${code}"`, {
    context: { code },
    remedy: 'give a KeyboardEvent.code, such as KeyA, Enter, ShiftLeft',
  })
}

/** More keys at once than a report has room for. */
export function tooManyKeysError(keysMax: number): AtpError {
  return stateError('ATP_SPICE_USB_KEYS', `a USB keyboard reports ${keysMax} keys at once, besides modifiers`, {
    remedy: 'release some first',
  })
}

/** Content that no disk can have. */
export function storageSizeError(sizeBytes: number, blockBytes: number): AtpError {
  return configError('ATP_SPICE_USB_STORAGE_SIZE', `${sizeBytes} bytes are no content of a USB disk`, {
    context: { sizeBytes },
    remedy: `give a multiple of ${blockBytes} bytes, less than 2 TiB and not none`,
  })
}
