import { DisplayPicture, SpiceConnectionManager, type DisplayChannel } from '../../framework/protocols/spice/index.ts'
import { ConsoleServer } from '../../tests/support/spice-server/console-server.ts'

/** VMs that are started, and sessions that are opened, at the same time. */
const AT_ONCE = 4
const HEARTBEAT_MS = 10_000
const SCANCODE = 0x1e
/** What the keyboard of a PC without firmware hands on for it. */
const KEYBOARD_BYTE = 0x1c

/**
 * Opens main, inputs and display of so many VMs from this process, and then uses all of them: every server answers, every
 * keyboard gets a key, every screen is there.
 *
 * @returns how many VMs passed, and how long opening took for each, milliseconds.
 */
export async function manyConsoles(count: number): Promise<{ passed: number; openMs: number[]; failures: string[] }> {
  const servers: ConsoleServer[] = []
  const manager = new SpiceConnectionManager()
  const displays = new Map<number, DisplayPicture>()
  const failures: string[] = []
  const openMs: number[] = []
  const each = async (work: (index: number) => Promise<void>) => {
    let next = 0
    const one = async () => {
      for (let index = next++; index < count; index = next++) await work(index)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, one))
  }
  try {
    await each(async (index) => void (servers[index] = await ConsoleServer.start({ listen: 'unix' })))
    await each(async (index) => {
      const startedMs = performance.now()
      const server = (servers[index] as ConsoleServer).server()
      const connection = await manager.addVm(`vm-${index}`, { server })
      await connection.openChannel('inputs')
      const prepare = (channel: DisplayChannel) => void displays.set(index, new DisplayPicture(channel))
      await connection.openChannel('display', { prepare })
      openMs.push(performance.now() - startedMs)
    })
    let passed = 0
    await each(async (index) => {
      try {
        const connection = manager.getVmConnection(`vm-${index}`)
        await connection.main.heartbeat(HEARTBEAT_MS)
        await connection.getChannel('inputs')?.keyDown(SCANCODE)
        const [byte] = await (servers[index] as ConsoleServer).keyboardBytes(1)
        if (byte !== KEYBOARD_BYTE) throw new Error(`its keyboard has ${byte}`)
        await displays.get(index)?.screenshot()
        passed++
      } catch (error) {
        failures.push(`VM ${index}: ${(error as Error).message}`)
      }
    })
    return { passed, openMs, failures }
  } finally {
    await manager.close()
    await Promise.all(servers.map((server) => server[Symbol.asyncDispose]()))
  }
}
