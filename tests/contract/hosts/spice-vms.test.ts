import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { parseHosts } from '../../../framework/config/hosts-file.ts'
import { Secret } from '../../../framework/core/index.ts'
import { TransportManager, type TransportManagerOptions } from '../../../framework/hosts/index.ts'
import { ConsoleServer } from '../../support/spice-server/console-server.ts'

const PASSWORD = 'right'
const password = new Secret('test ticket', PASSWORD)

describe('VMs whose SPICE servers are named by address', () => {
  let server: ConsoleServer
  let port: number
  beforeAll(async () => {
    server = await ConsoleServer.start({ ticket: PASSWORD, listen: 'both' })
    port = server.port as number
  }, 60_000)
  afterAll(() => server?.[Symbol.asyncDispose]())

  function manage(options?: TransportManagerOptions): TransportManager {
    const manager = new TransportManager(options)
    onTestFinished(() => manager.close())
    return manager
  }

  it('are added with their main channel open, once', async () => {
    const manager = manage()
    const added = await manager.addSpiceVm('虚拟机-1', '127.0.0.1', port, { password })
    expect(added.main.state).toBe('open')
    expect(await manager.getSpiceConnection('虚拟机-1')).toBe(added)
    await expect(manager.addSpiceVm('虚拟机-1', '127.0.0.1', port)).rejects.toMatchObject({
      code: 'ATP_SPICE_DUPLICATE',
    })
    await manager.removeSpiceVm('虚拟机-1')
    expect([added.main.state, manager.spiceVms()]).toEqual(['closed', []])
  })

  it('of a hosts file are known by vm_id, and connected to when they are wanted', async () => {
    const text = `
spice:
  vms:
    - { vm_id: vm1, server_addr: 127.0.0.1, port: ${port}, password: ${PASSWORD}, tls: false }
    - { vm_id: vm2, server_addr: 127.0.0.1, port: ${server.tlsPort}, password: ${PASSWORD}, tls: true, tls_verify: false }
    - { vm_id: vm3, server_addr: 127.0.0.1, port: ${server.tlsPort}, password: ${PASSWORD}, tls: true }
`
    const { spiceVms } = parseHosts(text, 'hosts.yaml').content
    const manager = manage({ spiceVms })
    expect(manager.spiceVms()).toEqual(['vm1', 'vm2', 'vm3'])
    const [first, second] = await Promise.all(['vm1', 'vm1'].map((id) => manager.getSpiceConnection(id)))
    expect(first).toBe(second)
    expect(first?.main.state).toBe('open')
    // A session begins where another one ends: the server keeps one.
    await manager.removeSpiceVm('vm1')
    expect((await manager.getSpiceConnection('vm2')).main.state).toBe('open')
    await expect(manager.getSpiceConnection('vm3')).rejects.toMatchObject({ code: 'ATP_TLS_UNKNOWN_CA' })
  })

  it('begin anew after they were ended', async () => {
    const manager = manage({ spiceVms: [{ vmId: 'vm1', serverAddr: '127.0.0.1', port, password }] })
    const first = await manager.getSpiceConnection('vm1')
    await first.disconnectAll()
    const second = await manager.getSpiceConnection('vm1')
    expect([first.main.state, second.main.state]).toEqual(['closed', 'open'])
  })

  it('that are unknown, wrong or cannot be reached are errors that say so, and nothing is left of them', async () => {
    const manager = manage({ spiceVms: [{ vmId: 'vm-001', serverAddr: '127.0.0.1', port }] })
    await expect(manager.getSpiceConnection('vm-01')).rejects.toMatchObject({
      code: 'ATP_SPICE_UNKNOWN_VM',
      remedy: 'did you mean "vm-001"?',
    })
    await expect(manager.removeSpiceVm('other')).rejects.toMatchObject({ code: 'ATP_SPICE_UNKNOWN_VM' })
    const wrong = manager.addSpiceVm('vm-002', '127.0.0.1', port, { password: new Secret('wrong', 'wrong') })
    await expect(wrong).rejects.toMatchObject({ code: 'ATP_SPICE_AUTH' })
    await expect(manager.addSpiceVm('vm-003', '127.0.0.1', 70_000)).rejects.toMatchObject({ code: 'ATP_SPICE_URI' })
    expect(manager.spiceVms()).toEqual(['vm-001'])
    await manager.close()
    await expect(manager.getSpiceConnection('vm-001')).rejects.toMatchObject({ code: 'ATP_HOSTS_CLOSED' })
  })
})
