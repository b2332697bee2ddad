/** What a host connection tells its observer, with a real daemon that is killed. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { HostConnection } from '../../../framework/hosts/index.ts'
import { prometheusMetrics } from '../../../framework/metrics/prometheus.ts'
import { missingPart, PrivateDaemon } from '../../support/remote-host/index.ts'
import { samplesOf, valueOf, type Sample } from '../../unit/metrics/samples.ts'

const missing = missingPart()
let daemon: PrivateDaemon
beforeAll(async () => {
  if (!missing) daemon = await PrivateDaemon.start()
})
afterAll(() => daemon?.stop())

it('a lost connection is counted, and the one that replaces it', async ({ skip, onTestFinished }) => {
  if (missing) skip(`no daemon can run here: ${missing}`)
  const { observer, text } = prometheusMetrics('1.2.3', {})
  const uri = `qemu+unix:///session?socket=${daemon.socketPath}`
  const host = await HostConnection.open({ id: 'host-1', uri }, { observe: observer })
  onTestFinished(() => host.close())
  const page = async () => samplesOf(await text())
  const of = (samples: Sample[], name: string, labels = {}) => valueOf(samples, name, { host: 'host-1', ...labels })
  const control = { role: 'control' }

  await (await host.client('control')).hostname()
  const before = await page()
  expect(of(before, 'atp_host_connections', control)).toBe(1)
  expect(of(before, 'atp_host_connect_duration_count', control)).toBe(1)
  expect(of(before, 'atp_host_state', { state: 'connected' })).toBe(1)
  expect(of(before, 'atp_libvirt_calls_total', { operation: 'connect-open', outcome: 'ok' })).toBe(1)
  expect(of(before, 'atp_libvirt_calls_total', { operation: 'connect-get-hostname', outcome: 'ok' })).toBe(1)
  expect(of(before, 'atp_host_losses_total')).toBeUndefined()

  await daemon.kill('SIGKILL')
  const lost = await pollUntil('the loss', { timeoutMs: 5000 }, async () => {
    const now = await page()
    return of(now, 'atp_host_losses_total', control) === 1 ? now : undefined
  })
  expect(of(lost, 'atp_host_connections', control)).toBe(0)
  expect(of(lost, 'atp_host_state', { state: 'connected' })).toBe(0)
  expect(of(lost, 'atp_host_state', { state: 'reconnecting' })).toBe(1)

  await daemon.launch()
  const back = await pollUntil('the connection', { timeoutMs: 20_000 }, async () => {
    const now = await page()
    return of(now, 'atp_host_state', { state: 'connected' }) === 1 ? now : undefined
  })
  expect(of(back, 'atp_host_connections', control)).toBe(1)
  expect(of(back, 'atp_host_reconnects_total', control)).toBe(1)
  expect(of(back, 'atp_host_losses_total', control)).toBe(1)
  expect(of(back, 'atp_host_state', { state: 'reconnecting' })).toBe(0)

  await host.close()
  const after = await page()
  expect(of(after, 'atp_host_connections', control)).toBe(0)
  expect(of(after, 'atp_host_losses_total', control)).toBe(1)
  for (const state of ['connecting', 'connected', 'reconnecting', 'failed'])
    expect(of(after, 'atp_host_state', { state }) ?? 0, state).toBe(0)
})
