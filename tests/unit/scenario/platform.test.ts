import { readFileSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import { isAtpError, Scope } from '../../../framework/core/index.ts'
import { VdiSteps } from '../../../framework/runner/worker/vdi-steps.ts'
import { loadScenario, needsOf, ScenarioExecutor, stepRegistry } from '../../../framework/scenario/index.ts'
import { memoryVm } from './memory-vm.ts'
import { onPlatform, type OnPlatform } from './platform.ts'

const nested = readFileSync('specs/seeds/nested.spec.yaml', 'utf8')
const scenario = (...lines: string[]) => `name: n\nsteps:\n${lines.map((line) => `  - { ${line} }`).join('\n')}\n`
const CREATE = 'action: vdi.create_desk_pool, name: p, count: 2, template: ps2, capture: pool'
const GET = 'action: vdi.get_desk_pool_domains, capture: domains'

async function passes({ run }: OnPlatform, text: string) {
  const ran = await run(text)
  expect(ran.report.failure, ran.statuses.join('\n')).toBeUndefined()
  return ran
}
async function fails({ run, world }: OnPlatform, text: string) {
  const { report } = await run(text)
  expect(report.passed).toBe(false)
  expect(world.list()).toEqual([])
  return report.failure as Error & { code: string }
}

describe('the nested seed', () => {
  it('types into both desktops, which are gone after it', async () => {
    const home = await onPlatform('ps2')
    await passes(home, nested)
    expect(home.calls).toEqual(['测试桌面池-1 type Hello from ATP!', '测试桌面池-2 type Hello from ATP!'])
    expect(home.world.list()).toEqual([])
    expect(await home.client.deskPools.listAll()).toEqual([])
  })

  it('is refused before anything is sent where no platform is', async () => {
    const { scenario: seed } = await loadScenario({ text: nested })
    const report = await new ScenarioExecutor({ resolveVm: () => memoryVm('x') }).execute(seed)
    expect(report).toMatchObject({ status: 'broken', counts: { skipped: 5 } })
    expect(isAtpError(report.failure, 'ATP_SCENARIO_NEEDS_VDI')).toBe(true)
  })

  it('fails with the templates there are where none is named', async () => {
    const home = await onPlatform()
    expect(await fails(home, nested)).toMatchObject({
      code: 'ATP_PROVISION_TEMPLATE',
      message: expect.stringMatching(/ps2/),
    })
  })
})

describe('desk pools', () => {
  it('are made, found by id and name, and checked', async () => {
    const home = await onPlatform()
    const { notes } = await passes(
      home,
      scenario(
        CREATE,
        'action: verify.desk_pool_created, pool_id: "${pool.id}"',
        'action: disable_desk_pool, pool_id: p',
        'action: vdi_enable_desk_pool',
        'action: start_all_domains, pool_id: "${pool.id}", concurrent: true, max_concurrency: 1',
        'action: verify.all_domains_running',
        GET,
        'action: log, message: "${domains[1].name}"',
        'action: force_shutdown_domain',
        'action: switch_model, template_id: virtio',
        'action: archive_desk_pool',
        'action: activate_desk_pool',
      ),
    )
    expect(notes).toMatchObject({
      0: 'p with 2 desktops',
      1: 'p has 2 VMs',
      4: 'p-1, p-2',
      5: '2 VMs of p run',
      7: 'p-2',
    })
  })

  it('that others made stay what they are', async () => {
    const home = await onPlatform()
    const [template] = await home.client.models.listAll()
    const order = { name: 'p', type: 0, amount: 1, modelId: template!.id, domainPrefix: 'p' } as const
    const { eventId } = await home.client.deskPools.create(order)
    await home.client.deskPools.waitForPool('p', 1, { events: [eventId] })
    const { report } = await home.run(scenario(CREATE))
    expect(report.failure).toMatchObject({ code: 'ATP_PROVISION_POOL_EXISTS' })
    expect(home.world.list()).toHaveLength(1)
  })

  it('that deliver too few VMs fail the step, and nothing stays', async () => {
    const home = await onPlatform()
    home.platform.faults.add({ kind: 'fewer', operation: 'deskPool.create', count: 1 })
    expect(await fails(home, scenario(CREATE))).toMatchObject({ code: 'ATP_VDI_STATE' })
  })

  it('without VMs do not all run', async () => {
    const home = await onPlatform()
    const text = scenario(CREATE, 'action: delete_domain', 'action: verify.all_domains_running, timeout: 300ms')
    expect(await fails(home, text)).toMatchObject({
      code: 'ATP_SCENARIO_EXPECTATION',
      message: expect.stringMatching(/no VMs/),
    })
  })

  it('that are off do not all run', async () => {
    const home = await onPlatform()
    const text = scenario(CREATE, 'action: verify.all_domains_running, timeout: 300ms')
    expect(await fails(home, text)).toMatchObject({
      message: expect.stringMatching(/p-1 has status 0, p-2 has status 0/),
    })
  })

  it('of which none was named or made are an error', async () => {
    const home = await onPlatform()
    expect(await fails(home, scenario('action: enable_desk_pool'))).toMatchObject({ code: 'ATP_SCENARIO_NO_POOL' })
    expect(await fails(home, scenario('action: start_domain'))).toMatchObject({ code: 'ATP_SCENARIO_NO_TARGET' })
    expect(await fails(home, scenario('action: enable_desk_pool, pool: q'))).toMatchObject({
      code: 'ATP_VDI_NOT_FOUND',
    })
  })
})

describe('VMs of a pool', () => {
  it('go through their lives', async () => {
    const home = await onPlatform()
    const { notes } = await passes(
      home,
      scenario(
        CREATE,
        'action: start_domain',
        'action: verify.domain_status, expected_status: running',
        'action: suspend_domain',
        'action: verify.domain_status, expected_status: paused',
        'action: resume_domain',
        'action: sleep_domain',
        'action: verify.domain_status, status: 3',
        'action: wake_domain',
        'action: reboot_domain',
        'action: shutdown_domain',
        'action: verify.domain_status, expected_status: shutdown',
        'action: set_cpu_memory, cpu: 2, memory: 256',
        'action: add_disk, size: 2',
        'action: expand_disk, on: p-1, disk: p-1-disk, size: 3',
        'action: remove_disk, on: p-2, disk: p-2-disk',
        'action: start_domain',
        'action: force_shutdown_domain',
        'action: freeze_domain, freeze_type: daily',
        'action: unfreeze_domain',
        'action: rebase_domain',
      ),
    )
    expect(notes[2]).toBe('p-1, p-2: running on the platform')
    expect(notes[11]).toBe('p-1, p-2: shutoff on the platform')
  })

  it('are meant one by one where a step names them, by id and by name', async () => {
    const home = await onPlatform()
    await passes(
      home,
      scenario(
        CREATE,
        GET,
        'action: start_domain, domain_id: "${domains[1].id}"',
        'action: verify.domain_status, domain_id: p-1, expected_status: stopped',
        'action: verify.domain_status, domain_id: p-2, expected_status: running',
        'action: connect',
        'action: keyboard.type, text: to the second',
        'action: start_domain, on: p-1',
        'action: keyboard.send_text_to_all, text: to all',
        'action: keyboard.type, on: p-1, text: to the first',
      ),
    )
    expect(home.calls).toEqual([
      'p-2 type to the second',
      'p-1 type to all',
      'p-2 type to all',
      'p-1 type to the first',
    ])
  })

  it('have snapshots by name', async () => {
    const home = await onPlatform()
    const { notes } = await passes(
      home,
      scenario(
        CREATE,
        'action: snapshot_create, name: before',
        'action: start_domain',
        'action: force_shutdown_domain',
        'action: snapshot_restore, name: before',
        'action: snapshot_delete, name: before',
      ),
    )
    expect(notes[1]).toBe('p-1, p-2')
    const again = scenario(CREATE, 'action: snapshot_restore, name: none')
    expect(await fails(home, again)).toMatchObject({ code: 'ATP_VDI_NOT_FOUND' })
  })

  it("fail a step with the platform's reason", async () => {
    const home = await onPlatform()
    const error = await fails(home, scenario(CREATE, 'action: suspend_domain'))
    expect(error).toMatchObject({ code: 'ATP_VDI_PARTIAL', message: expect.stringMatching(/p-1/) })
  })

  it('are repeated in loops, each round with a pool of its own', async () => {
    const home = await onPlatform()
    const text = `name: n
steps:
  - action: loop
    count: 3
    steps:
      - { action: create_desk_pool, name: "pool-\${loop.index}", template_id: ps2, count: 1, capture_output: made }
      - { action: start_domain }
      - { action: verify.all_domains_running, pool_id: "\${made.id}" }
      - { action: delete_desk_pool }
`
    await passes(home, text)
    expect(home.world.list()).toEqual([])
  })
})

describe('VMs of their own', () => {
  it('are made from a template or empty, become the current set, and are gone after the test', async () => {
    const home = await onPlatform()
    const { report, notes } = await passes(
      home,
      scenario(
        'action: create_domain, name: 单机, template_id: virtio, memory: 192, capture: vm',
        'action: log, message: "${vm.motherName} ${vm.cloneType} ${vm.memory}"',
        'action: start_domain',
        'action: verify.domain_status, expected_status: running',
        'action: connect',
        'action: keyboard.type, text: hello',
        'action: vdi.create_domain, name: blank, memory: 160, cpu: 2, capture: other',
        'action: log, message: "${other.cpu} ${other.memory}"',
        'action: set_cpu_memory, cpu: 1',
        'action: start_domain, on: blank',
      ),
    )
    expect(report.steps[0]).toMatchObject({ output: { name: '单机', status: 0 } })
    expect(notes).toMatchObject({ 0: '单机', 1: 'virtio 1 192', 7: '2 160', 8: 'blank' })
    expect(home.calls).toEqual(['单机 type hello'])
    expect(home.world.list()).toEqual([])
  })

  it('that others made stay what they are', async () => {
    const home = await onPlatform()
    const [template] = await home.client.models.listAll()
    const event = await home.client.models.clone(template!.id, { name: 'p', amount: 1 })
    await home.client.events.waitFor(event)
    const { report } = await home.run(scenario('action: create_domain, name: p, template: ps2'))
    expect(report.failure).toMatchObject({ code: 'ATP_PROVISION_VM_EXISTS' })
    expect(home.world.list()).toHaveLength(1)
  })

  it('that are refused are nothing to wait for', async () => {
    const home = await onPlatform()
    home.platform.faults.add({ kind: 'refuse', operation: 'domain.create', reason: '没有权限' })
    home.platform.faults.add({ kind: 'refuse', operation: 'deskPool.create', reason: '没有权限' })
    for (const step of ['action: create_domain, name: p, memory: 128', CREATE]) {
      const { report } = await home.run(scenario(step))
      expect(report.failure).toMatchObject({ code: 'ATP_VDI_REFUSED' })
      // What may have been made is looked for for five seconds.
      expect(report.durationMs).toBeLessThan(5000)
    }
  })

  it('that are not made leave nothing, and the reason is told', async () => {
    const home = await onPlatform()
    home.platform.faults.add({ kind: 'fail', operation: 'model.clone', reason: '存储不足' })
    const error = await fails(home, scenario('action: create_domain, name: p, template: ps2'))
    expect(error).toMatchObject({ code: 'ATP_VDI_STATE', message: expect.stringContaining('存储不足') })
    home.platform.faults.add({ kind: 'truncated', operation: 'domain.create' })
    expect(await fails(home, scenario('action: create_domain, name: p, memory: 128'))).toMatchObject({
      code: 'ATP_VDI_CONNECT',
    })
  })
})

it('a VM that parallel steps open is opened once, and one that gives up does not end it for the others', async () => {
  const { client } = await onPlatform()
  const [template] = await client.models.listAll()
  await client.events.waitFor(await client.models.clone(template!.id, { name: 'p', amount: 1 }))
  const opened = Promise.withResolvers<unknown>()
  const open = vi.fn(() => opened.promise)
  const steps = new VdiSteps({ client, open } as never, new Scope('the test') as never)
  const abort = new AbortController()
  const first = steps.open('p', { signal: abort.signal })
  await expect.poll(() => open.mock.calls.length).toBe(1)
  const second = steps.open('p', {})
  abort.abort(new Error('enough'))
  await expect(first).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  const vm = memoryVm('p')
  opened.resolve(vm)
  expect(await second).toBe(vm)
  expect(open).toHaveBeenCalledTimes(1)
})

describe('users and hosts', () => {
  it('are bound, found and taken off again', async () => {
    const home = await onPlatform()
    await home.client.users.create({ sAMAccountName: 'alice', group: 'ou=ocloud', sn: '李' })
    const { notes } = await passes(
      home,
      scenario(
        CREATE,
        'action: bind_user, domain_id: p-2, user_id: alice',
        'action: user_login, username: alice, password: ocloud, capture: session',
        'action: get_user_domain, user_id: alice, capture_output: own',
        'action: log, message: "${own.name}"',
        'action: unbind_user, domain_id: p-2',
        'action: host_info, host: memory-1, capture: host',
        'action: log, message: "${host.ip}"',
      ),
    )
    expect(notes).toMatchObject({ 3: 'p-2', 4: 'p-2', 6: 'memory-1', 7: '127.0.0.1' })
    const wrong = scenario(CREATE, 'action: user_login, username: alice, password: wrong')
    expect(await fails(home, wrong)).toMatchObject({ code: 'ATP_VDI_REFUSED' })
    const none = scenario('action: get_user_domain, user_id: alice')
    expect(await fails(home, none)).toMatchObject({ code: 'ATP_SCENARIO_NO_TARGET' })
  })

  it('sessions of users end with user_logout, else with the test; the administrator goes on', async () => {
    const home = await onPlatform()
    for (const sAMAccountName of ['alice', 'bob'])
      await home.client.users.create({ sAMAccountName, group: 'ou=ocloud' })
    const { notes } = await passes(
      home,
      scenario(
        'action: user_login, username: alice, password: ocloud',
        'action: user_login, username: bob, password: ocloud',
        'action: user_login, username: bob, password: ocloud',
        'action: vdi.user_logout, username: alice',
        'action: user_logout',
        'action: host_info, host: memory-1',
      ),
    )
    expect(notes).toMatchObject({ 3: 'alice', 4: 'bob' })
    // Only the administrator is left.
    expect(home.platform.sessions).toEqual([{ user: 'admin', kind: 'admin' }])
    expect(await fails(home, scenario('action: user_logout'))).toMatchObject({
      code: 'ATP_SCENARIO_NO_TARGET',
      message: expect.stringContaining('no end user is logged in'),
    })
    expect(await fails(home, scenario('action: user_logout, username: eve'))).toMatchObject({
      message: expect.stringContaining('eve is not logged in'),
    })
  })
})

describe('what is leased', () => {
  const needs = async (text: string) => needsOf((await loadScenario({ text })).scenario, stepRegistry)

  it('is nothing for VMs of the platform, and the roles beside them', async () => {
    expect(await needs(scenario(CREATE, 'action: start_domain, on: p-1', 'action: keyboard.type, text: x'))).toEqual({
      vms: [],
      locks: [],
      platform: true,
    })
    const roles = 'use: { vms: { server: {} } }\n'
    expect(await needs(roles + scenario(CREATE, 'action: keyboard.type, on: server, text: x'))).toEqual({
      vms: [{ role: 'server' }],
      locks: [],
      platform: true,
    })
    expect(await needs(scenario('action: keyboard.type, on: vm-001, text: x'))).toEqual({
      vms: [{ name: 'vm-001' }],
      locks: [],
    })
  })
})
