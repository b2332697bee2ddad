import { expect, it } from 'vitest'
import { createPool } from '../../../framework/provision/index.ts'
import { project } from '../../lab/project.ts'
import { worlds } from './worlds.ts'

const TIMEOUT_MS = 60_000

async function atp(password?: string) {
  const both = await worlds()
  const { url, adminUser: username, adminPassword } = both.platform
  const { run } = project(
    {},
    {
      lab: false,
      hosts: [{ id: 'kvm', uri: 'qemu+unix:///session?socket=/nonexistent/libvirt-sock' }],
      vdi: { url, username, password: { env: 'VDI_PASSWORD' }, hosts: { 'memory-1': 'kvm' } },
    },
  )
  const env = { VDI_PASSWORD: password ?? adminPassword.reveal() }
  return { ...both, run: (...args: string[]) => run(args, env) }
}

it('atp vdi lists hosts, VMs and pools', { timeout: TIMEOUT_MS }, async () => {
  const both = await atp()
  const { vms } = await createPool({ ...both, template: 'ps2', count: 2, name: '办公' })
  const hosts = await both.run('vdi', 'hosts')
  expect(hosts, hosts.stderr).toMatchObject({ code: 0 })
  expect(hosts.stdout).toMatch(
    /^NAME +IP +STATUS +RUNNING +REACHED AS\nmemory-1 +127\.0\.0\.1 +enabled \(1\) +1 +kvm \(qemu\+unix:.*\)\nmemory-2 .* memory-2 \(qemu\+ssh:\/\/127\.0\.0\.2\/system\)\n$/,
  )
  expect(JSON.parse((await both.run('vdi', 'vms', '--json')).stdout)).toEqual(
    vms.map(({ vm, platformHost }) => {
      return { id: vm.id, name: vm.name, status: 'running (1)', host: platformHost.name, pool: '办公', user: null }
    }),
  )
  const pools = await both.run('vdi', 'pools')
  expect(pools.stdout).toMatch(/^NAME +STATUS +ENABLED +DESKTOPS +TEMPLATE +ID\n办公 +idle \(0\) +yes +2 +ps2 +\S+\n$/)
})

it(
  'atp vdi verify and atp doctor say what cannot be reached, without the password',
  { timeout: TIMEOUT_MS },
  async () => {
    const both = await atp()
    const verified = await both.run('vdi', 'verify')
    expect(verified).toMatchObject({ code: 3, stdout: '' })
    expect(verified.stderr).toMatch(/nonexistent/)
    expect((await both.run('doctor')).stdout).toMatch(
      /^ok +VDI platform: http:\S+ takes the login of admin; 2 hosts, 3 templates$/m,
    )
    await both.platform.close()
    const gone = await both.run('vdi', 'vms')
    expect(gone).toMatchObject({ code: 3, stderr: expect.stringContaining('[ATP_VDI_CONNECT]') })
  },
)

it('atp vdi and atp doctor tell of a wrong password', { timeout: TIMEOUT_MS }, async () => {
  const both = await atp('wrong-password')
  const listed = await both.run('vdi', 'pools')
  expect(listed).toMatchObject({ code: 3, stderr: expect.stringMatching(/5099 \(wrong password\)[^]*ATP_VDI_REFUSED/) })
  expect(listed.stderr).not.toContain('wrong-password')
  const doctor = await both.run('doctor', '--json')
  const findings = JSON.parse(doctor.stdout) as { what: string }[]
  expect(findings.find(({ what }) => what === 'VDI platform')).toMatchObject({ state: 'bad', code: 'ATP_VDI_REFUSED' })
})

it('atp vdi says how to configure a platform', { timeout: TIMEOUT_MS }, async () => {
  const { run } = project({}, { lab: false })
  const outcome = await run(['vdi', 'verify'])
  expect(outcome).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/no VDI platform[^]*→ add it[^]*UNCONFIGURED/),
  })
  expect(await run(['vdi', 'vms', '--jsn'])).toMatchObject({ code: 2 })
  expect((await run(['completion', 'bash'])).stdout).toMatch(/'vdi verify'\) words='[^']*--json/)
})
