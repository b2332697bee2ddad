import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { isBrokerAlive } from '../../../framework/leases/process-guard.ts'
import { sweep, type TaggedVm } from '../../../framework/leases/sweep.ts'
import { FakeProvider } from './fake-provider.ts'

let dir: string
let provider: FakeProvider
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'atp-sweep-'))
  provider = new FakeProvider({ dir, hosts: [] })
})
afterEach(() => rmSync(dir, { recursive: true }))

const DEAD = 4_194_305
const OTHER = 77
const isAlive = (pid: number) => pid !== DEAD
const later = Date.now() + 60_000
const add = async (name: string, pid: number, expires = later): Promise<TaggedVm> => {
  const owner = { run: 'r', lease: 'l', pid, expires }
  return { host: 'a', name, owner, ...(await provider.create({ host: 'a', name, owner })) }
}
const names = (vms: { name: string }[]) => vms.map((vm) => vm.name).sort()

describe('sweep', () => {
  it('removes VMs of dead brokers and those whose time is over, and nobody else’s', async () => {
    await add('dead', DEAD)
    await add('expired', OTHER, Date.now() - 1)
    await add('living', OTHER)
    const { removed, failed } = await sweep(provider, { isAlive })
    expect(removed.map((vm) => [vm.name, vm.reason]).sort(([a], [b]) => String(a).localeCompare(String(b)))).toEqual([
      ['dead', `its broker (process ${DEAD}) is dead`],
      ['expired', 'its time is over'],
    ])
    expect(failed).toEqual([])
    expect(names(provider.read())).toEqual(['living'])
  })

  it('goes by the journal where another process has got the dead broker’s id', async () => {
    const vm = await add('vm-001', OTHER)
    await add('vm-002', OTHER)
    const entry = { name: 'vm-001', host: 'a', run: 'r', lease: 'l' }
    const vms = new Map([
      ['vm-001', { ...entry, uuid: vm.uuid }],
      ['vm-002', { ...entry, name: 'vm-002', uuid: 'of an earlier vm-002' }],
    ])
    const { removed } = await sweep(provider, { isAlive, journal: { vms } })
    expect(names(removed)).toEqual(['vm-001'])
  })

  it('inside a broker keeps what the broker knows and removes the rest of its own', async () => {
    await add('known', process.pid, Date.now() - 1)
    await add('unknown', process.pid)
    await add('living', OTHER)
    const { removed } = await sweep(provider, { isAlive, knows: (vm) => vm.name === 'known' })
    expect(names(removed)).toEqual(['unknown'])
  })

  it('reports what could not be destroyed', async () => {
    await add('vm-001', DEAD)
    provider.stubborn.set('vm-001', 1)
    const { removed, failed } = await sweep(provider, { isAlive })
    expect(removed).toEqual([])
    expect(failed).toMatchObject([{ name: 'vm-001', error: 'vm-001 does not want to go' }])
  })

  it('does not take any living process for a broker', () => {
    expect(isBrokerAlive(process.pid)).toBe(false)
    expect(isBrokerAlive(DEAD)).toBe(false)
  })
})
