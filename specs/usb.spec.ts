import { expect, test, usbKeyboard, usbStorage } from '@ocloudview/atp'

test.override('vmOptions', { profile: 'spice' })

test('what is typed on a USB keyboard arrives', async ({ spice, vm }) => {
  const usb = await spice.plug(usbKeyboard())
  await usb.device.type('echo "plugged in" > /tmp/usb\n')
  await expect(vm.guest.file('/tmp/usb')).toContain('plugged in')
  await usb.unplug()
})

test('a USB disk is read and written', async ({ spice, vm }) => {
  const bytes = new Uint8Array(1024 * 1024)
  bytes.set(new TextEncoder().encode('from the host'))
  const usb = await spice.plug(usbStorage({ bytes }))
  const disk = await vm.guest.shell('until [ -b /dev/sda ]; do sleep 0.1; done; head -c 13 /dev/sda')
  expect(disk.stdoutText).toBe('from the host')
  await vm.guest.shell('printf "from the guest" | dd of=/dev/sda conv=fsync')
  await usb.unplug()
  expect(new TextDecoder().decode(bytes.subarray(0, 14))).toBe('from the guest')
})
