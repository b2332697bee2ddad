import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { SharedFolder } from '../../../framework/desktop/shared-folder/shared-folder.ts'
import { SpiceAgent, SpicePorts, SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { ConsoleServer } from '../../support/spice-server/console-server.ts'

/** Two ports and a folder channel, of a machine whose guest sleeps: nobody ever opens the other ends. */
const port = (name: string, id: string) =>
  `-chardev spiceport,id=${id},name=${name} -device virtserialport,chardev=${id},name=${name}`.split(' ')
const DEVICES = [
  '-device',
  'virtio-serial-pci',
  ...port('first.port', 'p0'),
  ...port('second.port', 'p1'),
  ...port('org.spice-space.webdav.0', 'dav'),
]
const soon = { timeoutMs: 200 }

let server: ConsoleServer
let folder: string
beforeAll(async () => {
  server = await ConsoleServer.start({ qemuArguments: DEVICES })
  folder = await mkdtemp(join(tmpdir(), 'ports-'))
})
afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

async function connect(): Promise<SpiceVmConnection> {
  const connection = new SpiceVmConnection('vm', { server: server.server() })
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel()
  return connection
}

it('ports are found by their names, the same for all who ask at once', async () => {
  const ports = new SpicePorts(await connect())
  const [second, first, again] = await Promise.all(
    ['second.port', 'first.port', 'second.port'].map((n) => ports.port(n)),
  )
  expect([first?.name, second?.name, again === second]).toEqual(['first.port', 'second.port', true])
  await expect(ports.port('third.port')).rejects.toThrow('it has first.port, second.port')
  expect(first?.guestOpen).toBe(false)
  await expect(first?.send('x', soon)).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
  await first?.sendBreak()
  await first?.close()
  const anew = await ports.port('first.port')
  expect([anew === first, anew.isOver]).toEqual([false, false])
})

it('a folder is shared once at a time, and only a folder', async () => {
  const connection = await connect()
  const shared = await SharedFolder.share(connection, folder, {})
  expect([shared.path, shared.clients]).toEqual([folder, 0])
  await expect(SharedFolder.share(connection, folder, {})).rejects.toMatchObject({ code: 'ATP_SPICE_FOLDER_TAKEN' })
  await shared.close()
  await (await SharedFolder.share(connection, folder, {})).close()
  await writeFile(join(folder, 'file'), '')
  for (const wrong of ['file', 'nothing']) {
    await expect(SharedFolder.share(connection, join(folder, wrong), {})).rejects.toMatchObject({ code: 'ATP_FOLDER' })
  }
  expect(connection.channels.map(({ type }) => type)).toEqual(['main'])
})

it('a VM without an agent says so', async () => {
  const agent = new SpiceAgent((await connect()).main)
  await expect(agent.clipboard.read(soon)).rejects.toMatchObject({ code: 'ATP_SPICE_AGENT_ABSENT' })
  await expect(agent.sendFile('a', new Uint8Array(1), soon)).rejects.toMatchObject({ code: 'ATP_SPICE_AGENT_ABSENT' })
  expect(server.alive).toBe(true)
})
