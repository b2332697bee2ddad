import { PROGRAMS } from './programs.ts'

/** Name of the free channel of {@link tinyDomain}. */
export const CHANNEL = 'com.example.测试.0'

/** A machine without an operating system: firmware only, enough for monitor, events and channels. */
export function tinyDomain(name: string): string {
  return `<domain type='qemu'>
  <name>${name}</name>
  <memory unit='MiB'>32</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <emulator>${PROGRAMS.qemu}</emulator>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <channel type='unix'><target type='virtio' name='${CHANNEL}'/></channel>
    <serial type='pty'/>
    <input type='keyboard' bus='virtio'/>
    <video><model type='vga'/></video>
    <memballoon model='none'/>
  </devices>
</domain>`
}
