import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createVm } from '../../../framework/desktop/index.ts'
import { HostConnection } from '../../../framework/hosts/index.ts'
import { QmpClient } from '../../../framework/protocols/qmp/index.ts'
import { connectUnix } from '../../../framework/transport/index.ts'
import { missingPart, PrivateDaemon, tinyDomain } from '../../support/remote-host/index.ts'
import { StoppedQemu } from './qemu.ts'

let qemu: StoppedQemu
beforeAll(async () => {
  qemu = await StoppedQemu.start(['-device', 'virtio-keyboard-pci'])
}, 30_000)
afterAll(() => qemu?.[Symbol.asyncDispose]())

const open = async (options = {}) => QmpClient.overStream(await connectUnix(qemu.socketPath), options)

describe('QMP with a real QEMU', () => {
  it('greets, negotiates and answers', async () => {
    const qmp = await open()
    expect(qmp.greeting?.version).toEqual(await qmp.queryVersion())
    expect(await qmp.queryStatus()).toEqual({ status: 'prelaunch', running: false })
    expect(await qmp.execute('query-name')).toEqual({ name: 'stopped' })
    expect(await qmp.hmp('info version')).toContain(`${qmp.greeting?.version.qemu.major}.`)
    expect(await qmp.hmp('no-such-command')).toContain('unknown command')
    await qmp.close()
  })

  it('names what QEMU refuses', async () => {
    const qmp = await open()
    await expect(qmp.execute('no-such-command')).rejects.toMatchObject({
      code: 'ATP_QMP_EXECUTE',
      context: { class: 'CommandNotFound' },
    })
    await expect(qmp.sendKey('no-such-key')).rejects.toMatchObject({
      code: 'ATP_QMP_EXECUTE',
      context: { class: 'GenericError' },
    })
    expect((await qmp.queryStatus()).status).toBe('prelaunch')
    await qmp.close()
  })

  it('answers many at once, the largest answer included', async () => {
    const qmp = await open()
    const names = Promise.all(Array.from({ length: 200 }, () => qmp.execute('query-name')))
    const schema = await qmp.execute<unknown[]>('query-qmp-schema')
    expect(schema.length).toBeGreaterThan(500)
    expect(new Set((await names).map((answer) => JSON.stringify(answer)))).toEqual(new Set(['{"name":"stopped"}']))
    await qmp.close()
  })

  it('sees events and takes keys', async () => {
    const qmp = await open()
    const resumed = qmp.waitForEvent('RESUME')
    const stopped = qmp.waitForEvent('STOP')
    await qmp.execute('cont')
    await qmp.sendKeys(['ctrl', 'alt', 'delete'], { holdTimeMs: 1 })
    await qmp.inputSendEvent([
      { type: 'key', data: { down: true, key: { type: 'qcode', data: 'a' } } },
      { type: 'key', data: { down: false, key: { type: 'qcode', data: 'a' } } },
    ])
    await qmp.execute('stop')
    expect((await resumed).timestamp.seconds).toBeGreaterThan(1_600_000_000)
    expect((await stopped).data).toEqual({})
    await qmp.close()
  })

  it('says that the monitor is taken instead of hanging', async () => {
    const holder = await open()
    await expect(open({ timeoutMs: 200 })).rejects.toMatchObject({ code: 'ATP_QMP_NO_GREETING' })
    expect((await holder.queryStatus()).running).toBe(false)
    await holder.close()
  })

  it('settles every call when QEMU dies', async () => {
    await using victim = await StoppedQemu.start()
    const qmp = await QmpClient.overStream(await connectUnix(victim.socketPath))
    const event = qmp.waitForEvent('SHUTDOWN')
    const lost = expect(event).rejects.toMatchObject({ code: 'ATP_QMP_LOST' })
    await victim.kill()
    await lost
    await expect(qmp.queryStatus()).rejects.toMatchObject({ code: 'ATP_QMP_LOST' })
  })
})

const missing = missingPart()
describe(`QMP of a libvirt domain${missing ? ` (skipped: ${missing})` : ''}`, { skip: missing !== undefined }, () => {
  let daemon: PrivateDaemon
  let host: HostConnection
  beforeAll(async () => {
    daemon = await PrivateDaemon.start()
    host = await HostConnection.open({ id: 'private', uri: `qemu+unix:///session?socket=${daemon.socketPath}` })
  })
  afterAll(async () => {
    // A daemon whose VM was reset ends only half a minute after it was told to.
    const control = await host?.client('control')
    for (const domain of (await control?.listDomains()) ?? []) await control.destroy(domain)
    await host?.close()
    await daemon?.stop()
  })

  it('is reached both ways, the socket by the path in the XML', async () => {
    const control = await host.client('control')
    const args = ['-qmp', `unix:${daemon.root}/q,server=on,wait=off`].map((value) => `<qemu:arg value='${value}'/>`)
    const xml = tinyDomain('both')
      .replace('<domain ', "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' ")
      .replace('</domain>', `<qemu:commandline>${args.join('')}</qemu:commandline></domain>`)
    await control.createXml(xml, { paused: true })
    await control.createXml(tinyDomain('one'), { paused: true })
    const open = (name: string) =>
      createVm({ leased: { name, uuid: '', host, ownership: 'attached', standby: false }, host })
    const [both, one] = [await open('both'), await open('one')]
    const [direct, indirect] = [await both.qmp({ via: 'socket' }), await both.qmp()]
    expect(direct.greeting?.version).toEqual(await indirect.queryVersion())
    expect(await direct.execute('query-uuid')).toEqual({ UUID: both.uuid })
    expect(await indirect.execute('query-uuid')).toEqual({ UUID: both.uuid })
    await expect(one.qmp({ via: 'socket' })).rejects.toMatchObject({ code: 'ATP_QMP_NO_SOCKET' })
    const resets = [direct.waitForEvent('RESET'), indirect.waitForEvent('RESET')]
    await direct.execute('system_reset')
    expect((await Promise.all(resets)).map(({ event }) => event)).toEqual(['RESET', 'RESET'])
    await both.close()
    expect(direct.closed).toBe(true)
    await one.close()
  })
})
