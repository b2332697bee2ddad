import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { pollUntil } from '../../framework/core/index.ts'
import { HostConnection } from '../../framework/hosts/index.ts'
import type { ChannelStream, Domain, LibvirtClient } from '../../framework/protocols/libvirt/index.ts'
import { createLabProvider, missingSystemPackages, type LabProvider } from '../../lab/index.ts'
import { echoThroughGuest, receiveFromGuest } from '../support/channel-checks.ts'

const MIB = 1024 * 1024
const PORT = '/dev/virtio-ports/atp.channel.0'
const missing = await missingSystemPackages()
if (missing.length > 0)
  console.warn(`lab tests of the libvirt client are skipped: not installed: ${missing.join(', ')}`)

describe.skipIf(missing.length > 0)('libvirt client and a guest', () => {
  let provider: LabProvider
  let vm: { host: string; uuid: string } | undefined
  let connection: HostConnection
  let client: LibvirtClient
  let domain: Domain

  beforeAll(async () => {
    provider = createLabProvider()
    const [host] = await provider.hosts()
    const owner = { run: `test-${process.pid}`, lease: 'libvirt', pid: process.pid, expires: Date.now() + 600_000 }
    const name = 'vm-901'
    vm = { host: host!.id, ...(await provider.create({ host: host!.id, name, owner })) }
    connection = await HostConnection.open(host!)
    client = await connection.client('calls')
    domain = await client.lookupByUuid(vm.uuid)
  })
  afterAll(async () => {
    await connection?.close()
    if (vm) await provider.destroy(vm)
    await provider?.close()
  })

  const agent = async (execute: string, parameters?: object): Promise<Record<string, unknown>> =>
    JSON.parse(await client.agentCommand(domain, JSON.stringify({ execute, arguments: parameters }))).return
  const shell = async (script: string) =>
    (await agent('guest-exec', { path: '/bin/sh', arg: ['-c', script], 'capture-output': true }))['pid'] as number

  const guestChannel = () => ({ client, domain, name: 'atp.channel.0', port: PORT, shell })

  const close = async (channel: ChannelStream) => {
    channel.destroy()
    await channel.released
  }

  it('passes agent commands, their errors and Chinese text', async () => {
    expect(await agent('guest-ping')).toEqual({})
    await expect(agent('guest-nothing')).rejects.toMatchObject({
      code: 'ATP_LIBVIRT_REMOTE',
      context: { libvirtCode: 1 },
    })
    const pid = await shell('echo 你好')
    const output = await pollUntil('the command’s end', { timeoutMs: 10_000 }, async () => {
      const status = await agent('guest-exec-status', { pid })
      return status['exited'] ? Buffer.from(String(status['out-data']), 'base64').toString() : undefined
    })
    expect(output).toBe('你好\n')
  })

  it('notices the agent’s end and its return', async () => {
    const seen: string[] = []
    const unsubscribe = await client.onAgentLifecycle(domain, ({ state }) => seen.push(state))
    await shell('sleep 0.2; killall qemu-ga')
    await expect.poll(() => seen, { timeout: 20_000 }).toEqual(['disconnected', 'connected'])
    await unsubscribe()
    await pollUntil('the agent’s answer', { timeoutMs: 20_000 }, () => agent('guest-ping'))
  })

  it('receives 16 MiB from the guest unharmed', async () => {
    const { sentSha256, arrivedSha256 } = await receiveFromGuest(guestChannel(), 16 * MIB)
    expect(arrivedSha256).toBe(sentSha256)
  })

  it('sends 16 MiB through the guest and back unharmed, while other calls are served', async () => {
    const { sentSha256, arrivedSha256, stateMs } = await echoThroughGuest(guestChannel(), 16 * MIB)
    expect(arrivedSha256).toBe(sentSha256)
    expect(stateMs.length).toBeGreaterThan(10)
    // On the same connection: the channel's data never takes its slots.
    expect(stateMs[Math.floor(stateMs.length / 2)]).toBeLessThan(50)
    expect(client.stats()).toMatchObject({ streams: 0, pending: 0, inFlight: 0 })
  })

  it('shows the serial console', async () => {
    const console = await client.openConsole(domain, undefined)
    const chunks: Uint8Array[] = []
    console.start({ onData: (chunk) => chunks.push(chunk), onClose: () => {} })
    await shell('echo 串口 > /dev/ttyS0')
    await expect.poll(() => Buffer.concat(chunks).toString(), { timeout: 10_000 }).toContain('串口')
    await close(console)
  })
})
