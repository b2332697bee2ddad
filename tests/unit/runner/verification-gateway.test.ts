import { writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { resolveConfig, type ResolvedVerification } from '../../../framework/config/index.ts'
import { VerificationGateway } from '../../../framework/runner/verification-gateway.ts'
import { verificationDoorFor, type VerificationDoor } from '../../../framework/runner/verification-door.ts'
import { GatewayAgents } from '../../../framework/runner/worker/verification.ts'
import { VerifierAgentLink } from '../../../framework/verify/index.ts'
import { ScriptedAgent } from '../verify/server/scripted-agent.ts'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

async function gatewayOf(verification: object, connectionTimeoutMs = 2000) {
  const config = resolveConfig({ verification }, '/')
  const settings = config.verification as ResolvedVerification
  const door = verificationDoorFor(config) as VerificationDoor
  const gateway = await VerificationGateway.open(door, settings)
  open.push(() => gateway.close())
  const vms = { 'desk-7': 'vm-007' }
  return { gateway, door, worker: () => new GatewayAgents({ door, vms, connectionTimeoutMs }) }
}

const tcp = { tcp: { port: 0 } }
const address = { vmIds: ['vm-007'], level: 'kernel' } as const

async function linkOf(worker: GatewayAgents): Promise<VerifierAgentLink> {
  const way = await worker.claim(address, {})
  if (!way) throw new Error('there is no door')
  const link = new VerifierAgentLink('vm-007', way)
  open.push(() => link.close())
  return link
}

describe('a worker', () => {
  it('speaks with the agent of its VM, which connected to the main process', async () => {
    const { gateway, worker } = await gatewayOf(tcp)
    const link = await linkOf(worker())
    const access = await worker().access('vm-007', {})
    expect(access?.urls).toEqual(gateway.urls)
    const agent = ScriptedAgent.onSocket(gateway.urls[0] as string).hello({
      vm_id: 'VM-007',
      token: access?.token.reveal(),
    })
    expect(await link.ready()).toMatchObject({ vm_id: 'VM-007' })
    const result = link.verify({ type: 'command', command: '你好' })
    const { event_id: id, metadata } = await agent.next((message) => 'metadata' in message)
    expect(metadata).toMatchObject({ command: '你好' })
    agent.send({ v: 1, event_id: id, verified: true, timestamp: 1, latency_ms: 2, details: { stdout: '好' } })
    expect(await result).toMatchObject({ verified: true, details: { stdout: '好' } })
    const time = link.now()
    agent.send({ v: 1, type: 'time', nonce: (await agent.nextOf('time'))['nonce'], guest_ns: '7' })
    expect(await time).toEqual({ guestNs: 7n, errorNs: 0n })
    agent.destroy()
    await expect(link.barrier()).rejects.toMatchObject({ code: 'ATP_VERIFIER_LOST' })
    await expect(link.ready({ timeoutMs: 50 })).rejects.toMatchObject({ code: 'ATP_VERIFIER_NO_AGENT' })
  })

  it('has the agent for itself until it ends, however it ends', async () => {
    const { gateway, worker } = await gatewayOf(tcp)
    const first = await linkOf(worker())
    await expect(worker().claim(address, {})).rejects.toMatchObject({ code: 'ATP_VERIFIER_CLAIMED' })
    const token = (await worker().access('vm-007', {}))?.token.reveal()
    const agent = ScriptedAgent.onSocket(gateway.urls[0] as string).hello({ vm_id: 'vm-007', token })
    await first.ready()
    first.expect('keyboard', { onSeen() {}, onUnexpected() {}, onGap() {} })
    const { event_id: id } = await agent.nextOf('expect')
    first.close()
    expect(await agent.nextOf('release')).toMatchObject({ event_id: id })
    const second = await linkOf(worker())
    expect(await second.ready()).toMatchObject({ session: 'session-1' })
  })

  it('learns that the run is over', async () => {
    const { gateway, worker } = await gatewayOf(tcp)
    const link = await linkOf(worker())
    await gateway.close()
    await expect(link.ready()).rejects.toMatchObject({ code: 'ATP_VERIFIER_CLOSED' })
    await expect(worker().claim(address, {})).rejects.toMatchObject({ code: 'ATP_VERIFIER_CLOSED' })
  })

  it('knows what the configuration calls its VM', async () => {
    const { worker } = await gatewayOf(tcp)
    expect(worker().vmIds({ name: 'VM-007', uuid: 'u' })).toEqual(['desk-7'])
    expect(worker().vmIds({ name: 'vm-008', uuid: 'u' })).toEqual([])
  })

  it('is refused without the key of the run', async () => {
    const { door } = await gatewayOf(tcp)
    const stranger = new GatewayAgents({ door: { ...door, key: 'guessed' }, vms: {}, connectionTimeoutMs: 100 })
    await expect(stranger.claim(address, {})).rejects.toMatchObject({ code: 'ATP_VERIFIER_CLOSED' })
  })
})

describe('tokens', () => {
  it('of one VM are of no use to another', async () => {
    const { gateway, worker } = await gatewayOf(tcp)
    const token = (await worker().access('vm-008', {}))?.token.reveal()
    const agent = ScriptedAgent.onSocket(gateway.urls[0] as string).hello({ vm_id: 'vm-007', token })
    expect(await agent.nextOf('refused')).toMatchObject({ code: 'ATP_VERIFIER_TOKEN' })
  })

  it('may be the configuration’s, for all VMs or for one', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'atp-gateway-'))
    open.push(() => rm(folder, { recursive: true }))
    for (const name of ['common', 'own']) writeFileSync(join(folder, name), `${name}-token\n`)
    const { worker } = await gatewayOf({
      ...tcp,
      token: { file: join(folder, 'common') },
      agents: { 'desk-7': { vm: 'vm-007', token: { file: join(folder, 'own') } } },
    })
    const tokenOf = async (vmId: string) => (await worker().access(vmId, {}))?.token.reveal()
    expect([await tokenOf('vm-001'), await tokenOf('DESK-7')]).toEqual(['common-token', 'own-token'])
  })
})

it('a run without listeners has no door', () => {
  expect(verificationDoorFor(resolveConfig({}, '/'))).toBeUndefined()
  expect(verificationDoorFor(resolveConfig({ verification: { agents: {} } }, '/'))).toBeUndefined()
})
