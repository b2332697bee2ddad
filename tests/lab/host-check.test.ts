import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { leaseVm, type LeasedTestVm } from './leased-vm.ts'
import { project } from './project.ts'

describe('atp host, with the lab', () => {
  let leased: LeasedTestVm
  beforeAll(async () => {
    leased = await leaseVm()
  })
  afterAll(async () => {
    await leased?.end()
  })

  it('lists its hosts and finds guests whose agents answer', async () => {
    await leased.vm.guest.ping()
    const { run } = project({})
    const { id } = leased.host
    const listed = await run(['host', 'list', '--json'])
    expect(JSON.parse(listed.stdout)).toContainEqual({ id, uri: leased.host.uri, labels: [], origin: 'lab', up: true })
    const checked = await run(['host', 'check', id, '--json'])
    expect(checked.code, checked.stdout + checked.stderr).toBe(0)
    const [report] = JSON.parse(checked.stdout)
    expect(report).toMatchObject({ id, origin: 'lab' })
    expect(report.vms.agents).toBeGreaterThan(0)
    expect(report.findings).toContainEqual({
      state: 'ok',
      what: 'guest agents',
      detail: `${report.vms.agents} of ${report.vms.running} running VMs answer`,
    })
    expect(report.findings).toContainEqual(expect.objectContaining({ state: 'ok', what: 'permissions' }))
  })
})
