import { describe, expect, it } from 'vitest'
import { LibvirtClient } from '../../../framework/protocols/libvirt/index.ts'
import { LIBVIRT_ERROR, REMOTE } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { memoryPair } from '../../../framework/transport/index.ts'
import { ScriptedDaemon, VM, type Call } from './scripted-daemon.ts'

/** A client of a daemon that answers some calls in its own way. */
async function open(intercept: (call: Call, daemon: ScriptedDaemon) => boolean, keepaliveIntervalMs = 5000) {
  const [near, far] = memoryPair()
  const daemon = new ScriptedDaemon(far)
  daemon.intercept = (call) => intercept(call, daemon)
  return { daemon, client: await LibvirtClient.open(near, { path: '/system', keepaliveIntervalMs }) }
}

/** What libvirtd answers to a number its protocol does not have. */
const unknown = (call: Call) => call.refuse(LIBVIRT_ERROR.RPC, `unknown procedure: ${call.procedure}`)

const VERBS: Record<string, (client: LibvirtClient) => Promise<unknown>> = {
  listDomains: (client) => client.listDomains(),
  defineXml: (client) => client.defineXml('<domain/>'),
  create: (client) => client.create(VM),
  save: (client) => client.save(VM, '/file'),
  restore: (client) => client.restore('/file'),
  reset: (client) => client.reset(VM),
  getMetadata: (client) => client.getMetadata(VM, 'urn:x'),
  monitorCommand: (client) => client.monitorCommand(VM, '{}'),
  agentCommand: (client) => client.agentCommand(VM, '{}'),
  screenshot: (client) => client.screenshot(VM),
  openChannel: (client) => client.openChannel(VM, 'org.example.0'),
  openConsole: (client) => client.openConsole(VM, undefined),
  onLifecycle: (client) => client.onLifecycle(VM, () => {}),
  onAgentLifecycle: (client) => client.onAgentLifecycle(VM, () => {}),
  onMonitorEvent: (client) => client.onMonitorEvent(VM, () => {}),
}

describe('a daemon that is older than a procedure', () => {
  it.each(Object.entries(VERBS))('%s says so, and the connection goes on', async (_, verb) => {
    const { client, daemon } = await open(() => false)
    daemon.onCall = (call) => daemon.send(unknown(call))
    await expect(verb(client)).rejects.toMatchObject({
      code: 'ATP_LIBVIRT_UNSUPPORTED',
      verdict: 'infrastructure',
      retryable: false,
      message: expect.stringContaining('unknown procedure'),
    })
    expect(client.stats()).toMatchObject({ inFlight: 0, queued: 0, pending: 0, streams: 0, eventHandlers: 0 })
    daemon.onCall = (call) => daemon.send(call.reply((writer) => writer.string('old-host')))
    expect(await client.hostname()).toBe('old-host')
    await client.close()
  })

  it.each([LIBVIRT_ERROR.NO_SUPPORT, LIBVIRT_ERROR.ARGUMENT_UNSUPPORTED, LIBVIRT_ERROR.OPERATION_UNSUPPORTED])(
    'or a driver that lacks it (libvirt’s error %i) is told alike',
    async (code) => {
      const { client, daemon } = await open(() => false)
      daemon.onCall = (call) => daemon.send(call.refuse(code))
      await expect(client.screenshot(VM)).rejects.toMatchObject({ code: 'ATP_LIBVIRT_UNSUPPORTED' })
      await client.close()
    },
  )
})

describe('a daemon without keepalive', () => {
  it.each<[string, (call: Call) => Buffer]>([
    ['that says so', (call) => call.reply((writer) => writer.i32(0))],
    ['that does not know the question', unknown],
    ['that has no answer yet', (call) => call.refuse(LIBVIRT_ERROR.NO_SUPPORT)],
  ])('%s is not asked for signs of life', async (_, answer) => {
    const { client, daemon } = await open((call, self) => {
      if (call.procedure !== REMOTE.CONNECT_SUPPORTS_FEATURE) return false
      self.send(answer(call))
      return true
    }, 5)
    daemon.onCall = (call) => daemon.send(call.reply((writer) => writer.string('old-host')))
    const started = performance.now()
    while (performance.now() - started < 60) expect(await client.hostname()).toBe('old-host')
    expect(daemon.pings).toBe(0)
    await client.close()
  })

  it('but with another trouble is not opened', async () => {
    const opening = open((call, self) => {
      if (call.procedure !== REMOTE.CONNECT_SUPPORTS_FEATURE) return false
      self.send(call.refuse(1))
      return true
    })
    await expect(opening).rejects.toMatchObject({ code: 'ATP_LIBVIRT_REMOTE' })
  })
})
