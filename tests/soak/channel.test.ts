/** Channels of a guest under much data, and under none that is read. */
import { createHash, randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { percentile } from '../../bench/result.ts'
import { sleep } from '../../framework/core/index.ts'
import type { DesktopVm } from '../../framework/desktop/index.ts'
import { guestExec } from '../../framework/protocols/qga/index.ts'
import { daemonPid, labHost } from '../../lab/hosts.ts'
import { labPaths } from '../../lab/index.ts'
import { leaseVm, type LeasedTestVm } from '../lab/leased-vm.ts'

const MIB = 2 ** 20
const FROM_GUEST_BYTES = 64 * MIB
const TO_GUEST_BYTES = 16 * MIB
const UNREAD_BYTES = MIB
const PIECE_BYTES = 4096
const PORT = 'atp.channel.0'
const STATE_EVERY_MS = 20
const STATE_P99_MS = 50
const ALIVE_MS = 60_000
const REOPEN_MS = 10_000

describe('a channel of a guest', () => {
  let leased: LeasedTestVm
  let vm: DesktopVm

  beforeAll(async () => {
    leased = await leaseVm()
    vm = leased.vm
  })
  afterAll(() => leased?.end())

  /** Starts a line of shell whose descriptor 3 is the guest's end of the channel; resolves to its process id. */
  const start = async (line: string) =>
    (await vm.qga()).exec(
      guestExec('/bin/sh', { args: ['-c', `exec 3<>/dev/virtio-ports/${PORT}; ${line}`], captureOutput: false }),
    )

  /** Milliseconds of reading the VM's state, again and again while `work` goes on: the 99th percentile. */
  async function stateP99Ms(work: Promise<unknown>): Promise<number> {
    const tripsMs: number[] = []
    let over = false
    const watched = work.finally(() => (over = true))
    watched.catch(() => {})
    while (!over) {
      const started = performance.now()
      await vm.state()
      tripsMs.push(performance.now() - started)
      await sleep(STATE_EVERY_MS)
    }
    await watched
    return percentile(tripsMs, 0.99)
  }

  it('carries 64 MiB to the host, every byte, and holds up nothing else', async () => {
    const stream = await vm.channel(PORT)
    onTestFinished(() => stream.destroy())
    const hash = createHash('sha256')
    let sizeBytes = 0
    const arrived = new Promise<void>((resolve, reject) => {
      stream.start({
        onData: (chunk) => {
          hash.update(chunk)
          sizeBytes += chunk.length
          if (sizeBytes >= FROM_GUEST_BYTES) resolve()
        },
        onClose: (error) => reject(error ?? new Error('the channel was closed')),
      })
    })
    await start(
      `mkfifo /tmp/copy; sha256sum </tmp/copy >/tmp/sum & head -c ${FROM_GUEST_BYTES} /dev/urandom | tee /tmp/copy >&3`,
    )
    const p99Ms = await stateP99Ms(arrived)
    expect(sizeBytes).toBe(FROM_GUEST_BYTES)
    await expect.poll(() => vm.guest.file('/tmp/sum').text(), { timeout: 60_000 }).toMatch(/^[0-9a-f]{64}/)
    expect(await vm.guest.file('/tmp/sum').text()).toContain(hash.digest('hex'))
    expect(p99Ms).toBeLessThan(STATE_P99_MS)
  })

  it('carries 16 MiB to the guest, which acknowledges by sending them back', async () => {
    const stream = await vm.channel(PORT)
    onTestFinished(() => stream.destroy())
    const sent = createHash('sha256')
    const heard = createHash('sha256')
    let sizeBytes = 0
    const back = new Promise<void>((resolve, reject) => {
      stream.start({
        onData: (chunk) => {
          heard.update(chunk)
          sizeBytes += chunk.length
          if (sizeBytes >= TO_GUEST_BYTES) resolve()
        },
        onClose: (error) => reject(error ?? new Error('the channel was closed')),
      })
    })
    const pid = await start('exec cat <&3 >&3')
    const writing = (async () => {
      for (let at = 0; at < TO_GUEST_BYTES; at += PIECE_BYTES) {
        const piece = randomBytes(PIECE_BYTES)
        sent.update(piece)
        await stream.write(piece)
      }
      await back
    })()
    const p99Ms = await stateP99Ms(writing)
    expect(heard.digest('hex')).toBe(sent.digest('hex'))
    expect(p99Ms).toBeLessThan(STATE_P99_MS)
    await vm.guest.shell(`kill ${pid} 2>/dev/null; true`)
  })

  it('that nobody reads stalls alone, and can be opened again by the same daemon', async () => {
    const lab = labHost(labPaths(), Number(vm.host.id.replace('lab-', '')))
    const daemon = await daemonPid(lab)
    const pid = await start('exec sleep 1000')
    const stream = await vm.channel(PORT)
    onTestFinished(() => stream.destroy())
    stream.start({ onData: () => {}, onClose: () => {} })
    const started = performance.now()
    await expect(stream.write(Buffer.alloc(UNREAD_BYTES))).rejects.toMatchObject({
      code: 'ATP_LIBVIRT_CHANNEL_STALLED',
    })
    expect(await stateP99Ms(sleep(ALIVE_MS - (performance.now() - started)))).toBeLessThan(STATE_P99_MS)
    await vm.guest.shell(`kill ${pid}`)
    const reopening = performance.now()
    const channel = await vm.serial(PORT, {}, { timeoutMs: REOPEN_MS })
    onTestFinished(() => channel.close())
    expect(performance.now() - reopening).toBeLessThan(REOPEN_MS)
    await start('exec cat <&3 >&3')
    await channel.send(Buffer.from('你好'))
    let heard = ''
    // What was written before, and nobody read, comes first.
    while (!heard.includes('你好')) heard = Buffer.from(await channel.receive()).toString('utf8')
    expect(await daemonPid(lab)).toBe(daemon)
    expect(leased.host.stats().roles).toMatchObject({ control: { losses: 0 }, channels: { losses: 0 } })
  })
})
