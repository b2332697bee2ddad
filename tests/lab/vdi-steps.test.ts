/** Every step of the VDI family in runs of the command line, on real VMs; what virsh says is part of the scenarios. */
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import type { LibvirtClient } from '../../framework/protocols/libvirt/index.ts'
import { stepRegistry } from '../../framework/scenario/index.ts'
import { VdiClient } from '../../framework/vdi/index.ts'
import { labHost, openHost } from '../../lab/hosts.ts'
import { ensureImage } from '../../lab/image/build.ts'
import { labDown, labPaths } from '../../lab/index.ts'
import { LibvirtWorld, startPlatform, type Platform } from '../../lab/platform/index.ts'
import { project } from './project.ts'

// Software emulation on a machine that others use, too.
const TIMEOUT_MS = 600_000
const SECRET = 'VDI_TEST_PASSWORD'

/**
 * `libvirt`: the domains of all hosts with their states, and no others; `size`: that of a disk; `xml`: patterns that
 * the definition of a domain has and has not.
 */
const PLUGIN = `
import { execFileSync } from 'node:child_process'
const uris = JSON.parse(process.env.TEST_URIS)
const virsh = (uri, ...args) => execFileSync('virsh', ['-q', '-c', uri, ...args], { encoding: 'utf8' })
const domains = () => uris.flatMap((uri) => virsh(uri, 'list', '--all').split('\\n').filter(Boolean).map((line) => {
  const [, name, state] = /^ *\\S+ +(.+?) +(running|paused|shut off|in shutdown|crashed)$/.exec(line)
  return { uri, name, state }
}))
export default {
  atp: 1,
  name: 'virsh',
  stepHandlers: {
    libvirt(_context, expected) {
      const found = domains().map(({ name, state }) => name + ' ' + state).toSorted().join()
      if (found !== (expected ?? []).toSorted().join()) throw new Error('virsh says ' + found)
    },
    size(_context, { name, target, bytes }) {
      const { uri } = domains().find((one) => one.name === name)
      const info = virsh(uri, 'domblkinfo', name, target)
      if (!new RegExp('Capacity: +' + bytes + '\\\\n').test(info)) throw new Error(info)
    },
    xml(_context, { name, has = [], not = [] }) {
      const { uri } = domains().find((one) => one.name === name)
      const xml = virsh(uri, 'dumpxml', '--inactive', name)
      for (const text of has) if (!new RegExp(text).test(xml)) throw new Error(text + ' is not in ' + xml)
      for (const text of not) if (new RegExp(text).test(xml)) throw new Error(text + ' is in ' + xml)
    },
  },
}
`

let home: string
let platform: Platform
let client: VdiClient
let env: Record<string, string>
const hosts: LibvirtClient[] = []
const seen = new Set<string>()

beforeAll(async () => {
  const shared = labPaths()
  await ensureImage(shared)
  home = await mkdtemp('/tmp/atp-vs-')
  process.env['ATP_HOME'] = home
  await symlink(shared.images, join(home, 'images'))
  platform = await startPlatform({ world: new LibvirtWorld() })
  for (const index of [1, 2]) hosts.push(await openHost(labHost(labPaths(), index)))
  const { url, adminUser: username, adminPassword: password } = platform
  client = new VdiClient({ baseUrl: url, username, password })
  for (const sAMAccountName of ['alice', 'bob']) await client.users.create({ sAMAccountName, group: 'ou=ocloud' })
  env = { [SECRET]: password.reveal(), TEST_URIS: JSON.stringify(platform.hosts.map(({ uri }) => uri)) }
}, TIMEOUT_MS)

afterAll(async () => {
  await client?.close()
  for (const host of hosts) await host.close()
  await platform?.close()
  await labDown()
  await rm(home, { recursive: true, force: true })
}, TIMEOUT_MS)

/** What there is in both worlds, and who is logged in on the platform. */
async function worlds() {
  const domains = await Promise.all(hosts.map((host) => host.listDomains()))
  const [pools, vms] = await Promise.all([client.deskPools.listAll(), client.domains.listAll()])
  return {
    domains: domains.flat().map(({ name }) => name),
    pools: pools.map(({ name }) => name),
    vms: vms.map(({ name }) => name),
    sessions: platform.sessions,
  }
}
let before: unknown
beforeEach(async () => {
  before = await worlds()
  expect(before).toMatchObject({ domains: [], pools: [], vms: [] })
})
afterEach(async () => expect(await worlds()).toEqual(before))

/** A project with a scenario for the platform. */
function projectOf(yaml: string) {
  const { url, adminUser: username, hosts } = platform
  const settings = {
    lab: undefined,
    plugins: ['./virsh.mjs'],
    hosts: hosts.map(({ name, uri }) => ({ id: name, uri })),
    vdi: { url, username, password: { env: SECRET }, template: 'ps2' },
  }
  const files = { 'virsh.mjs': PLUGIN, 'specs/a.spec.yaml': `name: steps\n${yaml}` }
  return project(files, settings)
}

/** Runs a scenario and answers its report. */
async function run(yaml: string, code = 0) {
  const home = projectOf(yaml)
  const outcome = await home.run(['test'], env)
  expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code })
  for (const [, action = ''] of yaml.matchAll(/action: ([\w.]+)/g)) seen.add(stepRegistry.get(action).action)
  const [report] = home.report().reports
  if (!report) throw new Error('there is no report')
  return report
}

it('desk pools, and the life of their desktops', { timeout: TIMEOUT_MS }, async () => {
  const { deliveries } = await run(`
steps:
  - { action: vdi.create_desk_pool, name: 办公, count: 2, capture: pool }
  - { action: verify.desk_pool_created, pool_id: '\${pool.id}' }
  - { action: verify.custom, handler: libvirt, data: [办公-1 shut off, 办公-2 shut off] }
  - { action: vdi.disable_desk_pool }
  - { action: vdi.enable_desk_pool, pool: 办公 }
  - { action: vdi.get_desk_pool_domains, capture: desktops }
  - { action: vdi.start_domain, domain_id: '\${desktops[0].id}' }
  - { action: verify.custom, handler: libvirt, data: [办公-1 running, 办公-2 shut off] }
  - { action: vdi.start_domain, on: 办公-2 }
  - { action: verify.all_domains_running }
  - { action: verify.domain_status, on: ['\${desktops[0].id}', 办公-2], expected_status: running }
  - { action: keyboard.send_text_to_all, text: to all, verify: true }
  - { action: command.exec, command: 'test -e /etc/hostname' }
  - { action: verify.command_success }
  - { action: vdi.suspend_domain }
  - { action: verify.custom, handler: libvirt, data: [办公-1 paused, 办公-2 paused] }
  - { action: verify.domain_status, expected_status: suspended }
  - { action: vdi.resume_domain }
  - { action: vdi.sleep_domain }
  - { action: verify.domain_status, expected_status: hibernated }
  - { action: verify.custom, handler: libvirt, data: [办公-1 shut off, 办公-2 shut off] }
  - { action: vdi.wake_domain }
  - { action: verify.custom, handler: libvirt, data: [办公-1 running, 办公-2 running] }
  - { action: vdi.shutdown_domain }
  - { action: verify.custom, handler: libvirt, data: [办公-1 shut off, 办公-2 shut off] }
  - { action: vdi.archive_desk_pool }
  - { action: vdi.activate_desk_pool }
  - { action: vdi.start_all_domains, concurrent: true, max_concurrency: 2 }
  - { action: vdi.reboot_domain, on: 办公-1 }
  - { action: verify.all_domains_running, pool: 办公 }
  - { action: vdi.force_shutdown_domain }
  - { action: vdi.switch_model, template: virtio }
  - { action: verify.custom, handler: xml, data: { name: 办公-1, has: ["type='keyboard' bus='virtio'"] } }
  - { action: vdi.delete_desk_pool }
  - { action: verify.custom, handler: libvirt }
`)
  expect(deliveries).toMatchObject([
    { vm: '办公-1', outcome: 'delivered', sent: 12, lost: 0 },
    { vm: '办公-2', outcome: 'delivered', sent: 12, lost: 0 },
  ])
})

it('a VM: hardware, disks, snapshots, restore points', { timeout: TIMEOUT_MS }, async () => {
  await run(`
steps:
  - { action: vdi.create_domain, name: 单机, template: ps2, capture: vm }
  - { action: verify.custom, handler: libvirt, data: [单机 shut off] }
  - { action: vdi.start_domain }
  - { action: command.exec, on: 单机, command: 'echo before > /tmp/mark' }
  - { action: vdi.snapshot_create, on: 单机, name: 快照 }
  - { action: command.exec, on: 单机, command: 'echo after > /tmp/mark' }
  - { action: vdi.snapshot_restore, on: '\${vm.id}', name: 快照 }
  - { action: command.exec, on: 单机, command: 'cat /tmp/mark', expect: { stdout: { equals: before } } }
  - { action: vdi.snapshot_delete, on: 单机, name: 快照 }
  - { action: vdi.force_shutdown_domain, on: 单机 }
  - { action: vdi.freeze_domain, on: 单机, freeze_type: each_boot }
  - { action: vdi.unfreeze_domain, on: 单机 }
  - { action: vdi.rebase_domain, on: 单机 }
  - { action: vdi.set_cpu_memory, on: 单机, memory: 160 }
  - { action: verify.custom, handler: xml, data: { name: 单机, has: ['163840'], not: [vdb] } }
  - { action: vdi.add_disk, on: 单机, size: 1 }
  - { action: verify.custom, handler: xml, data: { name: 单机, has: [vdb] } }
  - { action: vdi.expand_disk, on: 单机, disk: 单机-disk, size: 1 }
  - { action: vdi.start_domain, on: 单机, timeout: 4m }
  - { action: verify.custom, handler: size, data: { name: 单机, target: vdb, bytes: 2147483648 } }
  - { action: vdi.force_shutdown_domain, on: 单机 }
  - { action: vdi.remove_disk, on: 单机, disk: 单机-disk }
  - { action: verify.custom, handler: xml, data: { name: 单机, not: [vdb] } }
  - { action: vdi.delete_domain, on: 单机 }
  - { action: verify.custom, handler: libvirt }
`)
})

it('users, their sessions and their VMs; hosts', { timeout: TIMEOUT_MS }, async () => {
  const { steps } = await run(`
steps:
  - { action: vdi.create_domain, name: hers, memory: 128, capture: vm }
  - { action: vdi.bind_user, on: hers, user_id: alice }
  - { action: vdi.user_login, username: alice, password: ocloud, capture: session }
  - { action: log, message: '\${session.vms[0].name}' }
  - { action: vdi.user_login, username: bob, password: ocloud }
  - { action: vdi.user_logout, username: alice }
  - { action: vdi.get_user_domain, user_id: alice, capture: own }
  - { action: vdi.start_domain, on: '\${own.id}' }
  - { action: verify.custom, handler: libvirt, data: [hers running] }
  - { action: vdi.unbind_user, on: hers }
  - { action: vdi.host_info, host: lab-1, capture: host }
  - { action: log, message: '\${host.ip}' }
`)
  expect(steps.map(({ output }) => output)).toEqual(expect.arrayContaining(['hers', '127.0.0.1']))
})

it('loops, parallel steps, setup, and teardown after a failure', { timeout: TIMEOUT_MS }, async () => {
  const { errors } = await run(
    `
setup:
  - { action: vdi.create_desk_pool, name: base, count: 1 }
steps:
  - action: loop
    count: 2
    steps:
      - { action: create_desk_pool, name: 'round-\${loop.number}', count: 1, capture_output: made }
      - { action: start_domain }
      - { action: verify.all_domains_running, pool_id: '\${made.id}' }
      - { action: verify.custom, handler: libvirt, data: [base-1 shut off, 'round-\${loop.number}-1 running'] }
      - { action: force_shutdown_domain }
      - { action: delete_desk_pool, pool_id: '\${made.id}' }
  - action: parallel
    steps:
      - action: group
        steps:
          - { action: create_domain, name: left, template: ps2 }
          - { action: start_domain }
      - action: group
        steps:
          - { action: create_domain, name: right, template: virtio }
  - { action: verify.custom, handler: libvirt, data: [base-1 shut off, left running, right shut off] }
  - { action: vdi.suspend_domain, on: base-1 }
  - { action: log, message: never reached }
teardown:
  - { action: delete_desk_pool, pool: base }
  - { action: verify.custom, handler: libvirt, data: [left running, right shut off] }
`,
    3,
  )
  expect(errors[0]).toMatchObject({ code: 'ATP_VDI_PARTIAL', message: expect.stringContaining('base-1') })
})

it(
  'an empty pool does not run, and nothing is said of the last VM when the platform refuses',
  { timeout: TIMEOUT_MS },
  async () => {
    const { errors } = await run(
      `
steps:
  - { action: vdi.create_desk_pool, name: empty, count: 1 }
  - { action: vdi.delete_domain }
  - { action: verify.custom, handler: libvirt }
  - { action: verify.all_domains_running, timeout: 1s }
`,
      1,
    )
    expect(errors[0]).toMatchObject({ code: 'ATP_SCENARIO_EXPECTATION', message: expect.stringContaining('no VMs') })
  },
)

it('a VM that a step made goes when the run is killed', { timeout: TIMEOUT_MS }, async () => {
  const running = projectOf(`
steps:
  - { action: vdi.create_domain, name: 孤儿, template: ps2 }
  - { action: vdi.start_domain }
  - { action: wait, duration: 10m }
`).start(['test'], env)
  const states = async () => (await client.domains.listAll()).map(({ name, status }) => `${name} ${status}`).join()
  await expect.poll(states, { timeout: 120_000, interval: 200 }).toBe('孤儿 1')
  process.kill(-(running.child.pid as number), 'SIGKILL')
  await running.finished
  const left = async () => [await states(), ...(await worlds()).domains]
  await expect.poll(left, { timeout: 60_000, interval: 200 }).toEqual([''])
  // Nobody is left to log out.
  before = await worlds()
})

it('are all of the family', () => {
  const family = stepRegistry.actions.filter((action) => action.startsWith('vdi.'))
  expect(family.filter((action) => !seen.has(action))).toEqual([])
})
