/** Checkpoints of runs: who makes one, who waits, who is told of a failure, and when they go. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { pollUntil, stateError } from '../../../framework/core/index.ts'
import type { CheckpointStore, OwnerTag } from '../../../framework/leases/api.ts'
import { Broker } from '../../../framework/leases/broker.ts'
import { Journal } from '../../../framework/leases/journal.ts'
import type { Session } from '../../../framework/leases/lease-book.ts'
import { sweepCheckpoints } from '../../../framework/leases/sweep.ts'
import { FakeProvider } from './fake-provider.ts'

/** Keeps states as entries of a map; a VM that was saved is gone. */
class KeepingProvider extends FakeProvider {
  readonly kept = new Map<string, OwnerTag>()
  readonly made: { name: string; checkpoint: string | undefined }[] = []
  /** What the next save fails with. */
  full: Error | undefined
  readonly checkpoints: CheckpointStore = {
    save: async ({ host, uuid }, { id, owner }) => {
      await this.destroy({ host, uuid })
      if (this.full) throw this.full
      this.kept.set(id, owner)
      return 90_000_000
    },
    remove: async (id) => void this.kept.delete(id),
    list: async () => [...this.kept].map(([id, owner]) => ({ id, owner })),
  }

  override async create(
    request: { host: string; name: string; checkpoint?: string; owner: OwnerTag },
    options?: { signal?: AbortSignal },
  ): Promise<{ uuid: string }> {
    this.made.push({ name: request.name, checkpoint: request.checkpoint })
    return super.create(request, options)
  }
}

const hosts = [{ id: 'a', uri: 'qemu:///session', capacity: 2, labels: [] }]
let dir: string
let provider: KeepingProvider
let journal: Journal
let broker: Broker
let calls = 0

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'atp-checkpoints-'))
  provider = new KeepingProvider({ dir, hosts, profiles: ['ps2'], recycles: true })
  journal = Journal.open(join(dir, 'journal.jsonl'))
  broker = await Broker.start({ provider, journal })
})
afterEach(async () => {
  await broker.close()
  journal.close()
  const left = [...provider.kept.keys()]
  rmSync(dir, { recursive: true })
  expect(left).toEqual([])
})

function client(run = 'r', kind: Session['kind'] = 'worker'): Session {
  const session: Session = { run, kind, pid: 1, notify: () => {}, subscribed: false, ended: false }
  broker.join(session)
  return session
}
function claim(session: Session, key = 'desk#1') {
  const id = ++calls
  return { id, answer: broker.checkpoints.claim(session, id, key) }
}
/** Makes a checkpoint as a worker does. */
async function make(session: Session, key = 'desk#1') {
  const { id, answer } = claim(session, key)
  expect(await answer).toEqual({ ready: false })
  const lease = await broker.lease(session, ++calls, { holder: 'maker', vms: [{ ownership: 'shared' }] })
  const sizeBytes = await broker.keep(session, id, lease.id)
  broker.release(session, lease.id)
  return sizeBytes
}
const fromIt = (session: Session, key = 'desk#1') =>
  broker.lease(session, ++calls, { holder: 'a test', vms: [{ checkpoint: key }] })

describe('a checkpoint', () => {
  it('is made once; who asks meanwhile waits, who asks later has it', async () => {
    const [one, two] = [client(), client()]
    const first = claim(one)
    const second = claim(two)
    expect(await first.answer).toEqual({ ready: false })
    const lease = await broker.lease(one, ++calls, { holder: 'maker', vms: [{}] })
    expect(await broker.keep(one, first.id, lease.id)).toBe(90_000_000)
    expect(await second.answer).toEqual({ ready: true })
    expect(await claim(client()).answer).toEqual({ ready: true })
    expect([...provider.kept.values()]).toMatchObject([{ run: 'r', pid: process.pid }])
  })

  it('is what VMs are made of, never a standby, and never becomes one', async () => {
    const session = client()
    broker.setStandbys({ ps2: 1 })
    await pollUntil('the standby', { timeoutMs: 5000 }, async () =>
      broker.status().vms.some(({ state }) => state === 'standby') ? true : undefined,
    )
    await make(session)
    const { id, vms } = await fromIt(session)
    const [stored] = provider.kept.keys()
    expect(vms).toMatchObject([{ standby: false }])
    expect(provider.made.findLast(({ name }) => name === vms[0]?.name)?.checkpoint).toBe(stored)
    broker.release(session, id)
    await pollUntil('the VM’s end', { timeoutMs: 5000 }, async () =>
      provider.read().some(({ name }) => name === vms[0]?.name) ? undefined : true,
    )
    expect(provider.events().map(({ event }) => event)).not.toContain('recycle')
  })

  it('is of its run and its key', async () => {
    await make(client('r'))
    expect(await claim(client('r'), 'desk#2').answer).toEqual({ ready: false })
    expect(await claim(client('s')).answer).toEqual({ ready: false })
    await expect(fromIt(client('s'))).rejects.toMatchObject({ code: 'ATP_CHECKPOINT_MISSING' })
  })

  it('that failed is told to all who need it, with the cause', async () => {
    const [one, two] = [client(), client()]
    const first = claim(one)
    const second = claim(two)
    const cause = new Error('密码错误')
    const error = stateError('ATP_CHECKPOINT_PREPARE', 'no', { cause, verdict: 'product' })
    broker.checkpoints.failed(one, first.id, error)
    for (const answer of [second.answer, claim(client()).answer]) {
      await expect(answer).rejects.toMatchObject({ code: 'ATP_CHECKPOINT_PREPARE', verdict: 'product', cause })
    }
  })

  it('is made by the next one when its maker gives up or vanishes', async () => {
    const [one, two, three] = [client(), client(), client()]
    const first = claim(one)
    const second = claim(two)
    const third = claim(three)
    expect(await first.answer).toEqual({ ready: false })
    broker.checkpoints.failed(one, first.id)
    expect(await second.answer).toEqual({ ready: false })
    broker.leave(two)
    expect(await third.answer).toEqual({ ready: false })
    broker.leave(three)
    expect(await claim(one).answer).toEqual({ ready: false })
  })

  it('is no longer waited for by who gave up waiting', async () => {
    const [one, two] = [client(), client()]
    const first = claim(one)
    const second = claim(two)
    broker.checkpoints.failed(two, second.id)
    broker.checkpoints.failed(one, first.id)
    expect(await claim(one).answer).toEqual({ ready: false })
  })

  it('that cannot be stored stays to be made, and its VM is nobody’s standby', async () => {
    const session = client()
    provider.full = new Error('no space left on device')
    const { id } = claim(session)
    const lease = await broker.lease(session, ++calls, { holder: 'maker', vms: [{}] })
    await expect(broker.keep(session, id, lease.id)).rejects.toThrow('no space left')
    provider.full = undefined
    broker.checkpoints.failed(session, id)
    expect(await make(session)).toBe(90_000_000)
  })

  it('is refused beyond what a disk should hold', async () => {
    const session = client()
    for (let index = 0; index < 16; index++) await claim(session, `k${index}`).answer
    await expect(claim(session, 'one more').answer).rejects.toMatchObject({ code: 'ATP_CHECKPOINT_LIMIT' })
  })
})

describe('the end of', () => {
  it('a run that drains takes its checkpoints with it, and nobody else’s', async () => {
    await make(client('r'))
    await make(client('s'))
    await broker.drain('r')
    expect([...provider.kept.values()]).toMatchObject([{ run: 's' }])
  })

  it('a killed run takes them with it', async () => {
    const run = client('r', 'run')
    await make(client('r'))
    broker.leave(run)
    await pollUntil('the end of the checkpoint', { timeoutMs: 5000 }, async () => provider.kept.size === 0 || undefined)
  })

  it('a broker that was killed leaves them to be swept', async () => {
    const owner = (pid: number) => ({ run: 'r', lease: 'l', pid, expires: 0 })
    provider.kept.set('dead', owner(4_194_305))
    provider.kept.set('living', owner(77))
    provider.kept.set('own', owner(process.pid))
    provider.kept.set('lost', owner(process.pid))
    const removed = await sweepCheckpoints(
      provider,
      (id) => id === 'own',
      (pid) => pid === 77,
    )
    expect(removed).toEqual(['dead', 'lost'])
    expect([...provider.kept.keys()]).toEqual(['living', 'own'])
    provider.kept.clear()
  })
})

it('a provider that keeps no machines says so', async () => {
  const plain = await Broker.start({ provider: new FakeProvider({ dir, hosts }), journal })
  const session: Session = { run: 'r', kind: 'worker', pid: 1, notify: () => {}, subscribed: false, ended: false }
  expect(() => plain.checkpoints.claim(session, 1, 'desk')).toThrow(
    expect.objectContaining({ code: 'ATP_CHECKPOINT_UNSUPPORTED', branch: 'unsupported' }),
  )
  await plain.close()
})
