import { describe, expect, it } from 'vitest'
import { compareWorlds, createPool, watchDifferences } from '../../../framework/provision/index.ts'
import { stranger, worlds } from './worlds.ts'

async function withPool(count: number, behaviour: Parameters<typeof worlds>[0] = {}) {
  const both = await worlds(behaviour)
  const { vms } = await createPool({ ...both, template: 'ps2', count, name: 'desk' })
  return { ...both, vms }
}

describe('comparing the platform with its hypervisors', () => {
  it('finds no difference in any state that both know', async () => {
    const both = await withPool(5)
    const [, off, suspended, asleep, busy] = both.vms.map(({ vm }) => vm.id) as [string, string, string, string, string]
    const { domains } = both.client
    await domains.close([off], { force: true })
    await domains.suspend([suspended])
    await domains.sleep([asleep])
    await domains.waitForStatus([off], 'off')
    await domains.waitForStatus([suspended], 'suspended')
    await domains.waitForStatus([asleep], 'hibernated')
    both.platform.faults.add({ kind: 'stuck', operation: 'domain.reboot' })
    await domains.reboot([busy])
    expect(await compareWorlds(both)).toEqual({ hosts: 2, vms: 5, domains: 5, busy: 1, differences: [] })
  })

  it('names what only one side has, other states, other hosts, and what may be several', async () => {
    const both = await withPool(5)
    const [gone, moved, twice, paused] = both.vms
    if (!gone || !moved || !twice || !paused) throw new Error('the pool has too few VMs')
    const foreign = stranger('别人的')
    const double = stranger(twice.vm.name)
    both.edits.push((list, host) => [
      ...list
        .filter(({ uuid }) => uuid !== gone.vm.id && uuid !== moved.vm.id)
        .map((domain) => (domain.uuid === paused.vm.id ? { ...domain, state: 'paused' as const } : domain))
        .map((domain) => (domain.uuid === twice.vm.id ? { ...domain, name: 'own-name' } : domain)),
      ...(host !== moved.host.id ? [{ ...moved.domain, state: 'running' as const }] : []),
      ...(host === 'memory-1' ? [foreign] : []),
      ...(host === twice.host.id ? [double] : []),
    ])
    const { differences, ...counts } = await compareWorlds(both)
    expect(counts).toEqual({ hosts: 2, vms: 5, domains: 6, busy: 0 })
    const running = 'running (1)'
    const other = moved.host.id === 'memory-1' ? 'memory-2' : 'memory-1'
    expect(differences).toEqual([
      { ...of(gone), kind: 'missing-in-libvirt', platform: running, libvirt: 'no domain' },
      { ...of(moved), kind: 'wrong-host', platform: `on ${moved.host.id}`, libvirt: `on ${other}` },
      {
        ...of(twice),
        kind: 'ambiguous',
        platform: running,
        libvirt: `own-name (${twice.vm.id}) on host ${twice.host.id}, ${double.name} (${double.uuid}) on host ${twice.host.id}`,
      },
      { ...of(paused), kind: 'state', platform: running, libvirt: 'paused' },
      {
        kind: 'missing-on-platform',
        vm: '别人的',
        id: foreign.uuid,
        host: 'memory-1',
        platform: 'no VM',
        libvirt: 'shutoff',
      },
    ])
  })

  it('does not tell what is over at the second look', async () => {
    const both = await withPool(2)
    let lists = 0
    // Each look lists both hosts.
    both.edits.push((list) => (++lists <= 2 ? [] : list))
    expect(await compareWorlds(both)).toMatchObject({ vms: 2, domains: 2, differences: [] })
    expect(lists).toBeGreaterThan(2)
  })

  it('knows VMs by name where their ids are not libvirt’s, and templates that are domains', async () => {
    const both = await withPool(2)
    const [template] = await both.client.models.listAll()
    const asDomain = { ...stranger('any'), uuid: template?.id as string }
    both.edits.push((list, host) => [
      ...list.map((domain) => ({ ...domain, uuid: `${domain.uuid.slice(0, -4)}ffff` })),
      ...(host === 'memory-1' ? [asDomain] : []),
    ])
    expect((await compareWorlds(both)).differences).toEqual([])
  })
})

it('following both worlds tells each change once, and nothing while they stay as they are', async () => {
  const both = await withPool(1)
  let lists = 0
  // Several comparisons with the VM, several without it, and then with it again.
  both.edits.push((list) => (++lists > 20 && lists <= 40 ? [] : list))
  const controller = new AbortController()
  const seen: number[] = []
  const follow = async () => {
    for await (const { differences } of watchDifferences({ ...both, intervalMs: 1, signal: controller.signal })) {
      seen.push(differences.length)
      if (seen.length === 3) controller.abort()
    }
  }
  await expect(follow()).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  expect(seen).toEqual([0, 1, 0])
  expect(lists).toBeGreaterThan(40)
})

function of({ vm, platformHost }: Awaited<ReturnType<typeof withPool>>['vms'][number]) {
  return { vm: vm.name, id: vm.id, host: platformHost.name }
}
