import type { PrivateDaemon } from './private-daemon.ts'
import { PROGRAMS } from './programs.ts'

const ROM_BYTES = 65_536
/** Where a processor starts, counted from the end of its ROM. */
const RESET_VECTOR_BYTES = 16

/** Sends back every byte that comes in on the first serial port (16550: data 3f8, status 3fd). */
const ECHO = [
  'bafd03', // mov dx, 3fd
  'eca80174fb', // wait until a byte is there
  'baf803ec88c4', // take it
  'bafd03', // mov dx, 3fd
  'eca82074fb', // wait until one can be sent
  'baf80388e0ee', // send it
  'ebe2', // again
].join('')

/**
 * A machine whose whole software is an echo on its first console: a guest that reads and writes without an
 * operating system, some 10 kB a second. It asks its port without pause, so leave it paused while it is not needed.
 */
export function echoDomain(daemon: PrivateDaemon, name: string): string {
  const rom = Buffer.alloc(ROM_BYTES)
  rom.write(ECHO, 'hex')
  const jumpSizeBytes = 3
  rom.set([0xe9, RESET_VECTOR_BYTES - jumpSizeBytes, 0x00], ROM_BYTES - RESET_VECTOR_BYTES)
  return `<domain type='qemu'>
  <name>${name}</name>
  <memory unit='MiB'>32</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <loader type='rom'>${daemon.file(`home/${name}.rom`, rom)}</loader>
  </os>
  <devices>
    <emulator>${PROGRAMS.qemu}</emulator>
    <serial type='pty'/>
    <video><model type='none'/></video>
    <memballoon model='none'/>
  </devices>
</domain>`
}
