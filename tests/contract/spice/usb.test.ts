import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { SpiceSession } from '../../../framework/desktop/spice-session.ts'
import { SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import {
  HidKeyboard,
  HidMouse,
  MassStorage,
  MemoryBlockStore,
  UsbPorts,
  UsbRedirection,
  type UsbDevice,
} from '../../../framework/protocols/spice/usb/index.ts'
import { ConsoleServer } from '../../support/spice-server/console-server.ts'

/** Two ports; the second takes nothing but keyboards and mice. */
const FILTER = 'filter=0x03:-1:-1:-1:1|-1:-1:-1:-1:0'
const PORTS = ['', `,${FILTER}`].flatMap((filter, port) =>
  [
    ['-chardev', `spicevmc,id=usb${port},name=usbredir`],
    ['-device', `usb-redir,id=redirected${port},chardev=usb${port}${filter}`],
  ].flat(),
)

let server: ConsoleServer
beforeAll(async () => {
  server = await ConsoleServer.start({ qemuArguments: ['-device', 'qemu-xhci,id=xhci', ...PORTS] })
})
afterAll(() => server?.[Symbol.asyncDispose]())

async function connect(): Promise<SpiceVmConnection> {
  const connection = new SpiceVmConnection('vm', { server: server.server() })
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel()
  return connection
}

/** A device in a port whose guest sleeps: nobody will ever take it into use. */
async function inPort<D extends UsbDevice>(connection: SpiceVmConnection, port: number, device: D) {
  const channel = await connection.openChannel('usbredir', { id: port })
  await device.open?.({})
  const redirection = new UsbRedirection(channel, device, () => connection.closeChannel('usbredir', port))
  onTestFinished(() => redirection.unplug())
  return { redirection, channel }
}

/** Waits until QEMU's controller has devices attached in these ports and no others. */
async function attachedBecome(wanted: readonly number[]): Promise<void> {
  await pollUntil(`devices in ports ${wanted.join()}`, { timeoutMs: 10_000 }, async () => {
    const attached = await Promise.all(
      [0, 1].map((port) =>
        server.qmp.execute('qom-get', { path: `/machine/peripheral/redirected${port}`, property: 'attached' }),
      ),
    )
    return attached.every((is, port) => is === wanted.includes(port)) ? true : undefined
  })
}

const disk = () => new MassStorage(new MemoryBlockStore(new Uint8Array(512)))

it('QEMU attaches devices of two ports at once, and lets go of each', async () => {
  const connection = await connect()
  const keyboard = await inPort(connection, 1, new HidKeyboard())
  const storage = await inPort(connection, 0, disk())
  await attachedBecome([0, 1])
  await keyboard.redirection.unplug()
  await attachedBecome([0])
  await storage.redirection.unplug()
  await attachedBecome([])
  expect(connection.channels.map(({ type }) => type)).toEqual(['main'])
})

it('a device comes back with its channel', async () => {
  const connection = await connect()
  const { redirection, channel } = await inPort(connection, 0, disk())
  await attachedBecome([0])
  let lost = 0
  channel.onStateChange(({ to }) => (to === 'lost' ? lost++ : undefined))
  const again = new Promise<void>((resolve) => channel.onStateChange(({ to }) => to === 'open' && resolve()))
  channel.lose(new Error('cut by the test'))
  await again
  await attachedBecome([0])
  expect(lost).toBe(1)
  expect(redirection.unplugged).toBe(false)
})

it('a session that ends takes its devices along', async () => {
  const connection = await connect()
  const { redirection } = await inPort(connection, 0, new HidMouse())
  await attachedBecome([0])
  await connection.disconnectAll()
  await attachedBecome([])
  expect(redirection.unplugged).toBe(true)
  await expect(redirection.ready()).rejects.toMatchObject({ code: 'ATP_SPICE_USB_UNPLUGGED' })
})

it('a session that is closed unplugs its devices before its channels end', async () => {
  const connection = await connect()
  const session = new SpiceSession('vm', connection, { isRunning: async () => true })
  // This guest takes no device into use, so plugging in goes on until the session ends.
  const plugging = session.plug(disk(), { timeoutMs: 30_000 })
  const refused = expect(plugging).rejects.toMatchObject({ code: 'ATP_SPICE_USB_UNPLUGGED' })
  await attachedBecome([0])
  const [redirection] = session.usb.plugged
  const left: string[] = []
  const usb = connection.getChannel('usbredir', 0)
  const before = usb?.statistics.messagesIn ?? 0
  usb?.onStateChange(({ to }) => void left.push(`usb ${to}`))
  connection.main.onStateChange(({ to }) => void left.push(`main ${to}`))
  await session.close()
  await refused
  expect(redirection?.unplugged).toBe(true)
  expect(left).toEqual(['usb closed', 'main closed'])
  // QEMU said that it has let go.
  expect(usb?.statistics.messagesIn).toBeGreaterThan(before)
  await attachedBecome([])
})

it('a session that is closed while the VM is suspended leaves nothing unread that would end QEMU', async () => {
  const session = new SpiceSession('vm', await connect(), { isRunning: async () => false })
  const refused = expect(session.plug(disk())).rejects.toMatchObject({ code: 'ATP_SPICE_USB_UNPLUGGED' })
  await attachedBecome([0])
  await server.qmp.execute('stop')
  await session.close()
  await refused
  expect(session.connection.state).toBe('closed')
  await server.qmp.execute('cont')
  await attachedBecome([])
  await inPort(await connect(), 0, disk())
  await attachedBecome([0])
  expect(server.alive).toBe(true)
})

it('what goes wrong has a name and leaves nothing behind', async () => {
  const connection = await connect()
  const ports = new UsbPorts(connection)
  const bounds = { timeoutMs: 300 }
  const mouse = new HidMouse()
  await expect(ports.plug(mouse, bounds)).rejects.toMatchObject({ code: 'ATP_SPICE_USB_IGNORED' })
  await expect(ports.plug(new MassStorage(new MemoryBlockStore(new Uint8Array(7))))).rejects.toMatchObject({
    code: 'ATP_SPICE_USB_STORAGE_SIZE',
  })
  expect(ports.plugged).toEqual([])
  await attachedBecome([])
  const taken = ports.plug(mouse, { timeoutMs: 5000 })
  const refused = new AbortController()
  await expect(ports.plug(mouse)).rejects.toMatchObject({ code: 'ATP_SPICE_USB_PLUGGED' })
  await expect(ports.plug(disk(), { signal: refused.signal })).rejects.toMatchObject({ code: 'ATP_SPICE_USB_REFUSED' })
  const second = ports.plug(new HidKeyboard(), bounds)
  await expect(ports.plug(new HidKeyboard())).rejects.toMatchObject({ code: 'ATP_SPICE_USB_NO_PORT' })
  await expect(second).rejects.toMatchObject({ code: 'ATP_SPICE_USB_IGNORED' })
  await ports.close()
  await expect(taken).rejects.toMatchObject({ code: 'ATP_SPICE_USB_UNPLUGGED' })
  await attachedBecome([])
})

it('a VM that is suspended holds a device until it runs again', async () => {
  const connection = await connect()
  const { redirection } = await inPort(connection, 0, disk())
  await attachedBecome([0])
  await server.qmp.execute('stop')
  const held = expect.objectContaining({ code: 'ATP_SPICE_USB_HELD' })
  await expect(redirection.unplug({ timeoutMs: 300 })).rejects.toEqual(held)
  expect(redirection.unplugged).toBe(false)
  await server.qmp.execute('cont')
  await redirection.unplug()
  // A channel whose bytes had waited would end QEMU now.
  await inPort(connection, 0, disk())
  await attachedBecome([0])
  // Nor does a device that comes while it is suspended.
  const late = new UsbPorts(connection)
  await server.qmp.execute('stop')
  await expect(late.plug(new HidKeyboard(), { timeoutMs: 300 })).rejects.toMatchObject({
    code: 'ATP_SPICE_USB_IGNORED',
  })
  await server.qmp.execute('cont')
  await inPort(connection, 1, new HidKeyboard())
  await attachedBecome([0, 1])
  expect(server.alive).toBe(true)
})

it('QEMU lives on when devices come and go at any moment', async () => {
  const connection = await connect()
  for (let round = 0; round < 30; round++) {
    const { redirection, channel } = await inPort(connection, 0, round % 2 === 0 ? disk() : new HidKeyboard())
    // From before the hello to after the attachment, ended in each way there is.
    if (round % 5 > 0) await new Promise((resolve) => setTimeout(resolve, (round % 5) * 60))
    if (round % 3 === 0) channel.lose(new Error('cut by the test'))
    await redirection.unplug()
  }
  await attachedBecome([])
  expect(server.alive).toBe(true)
})
