import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { pollUntil } from '../../framework/core/index.ts'
import { HostConnection } from '../../framework/hosts/index.ts'
import { protocolRegistry } from '../../framework/protocols/index.ts'
import type { ProtocolTarget } from '../../framework/protocols/index.ts'
import { SpiceProtocol } from '../../framework/protocols/spice/protocol.ts'
import { createLabProvider, missingSystemPackages, type LabProvider } from '../../lab/index.ts'

const EVENT_BYTES = 24
const EV_KEY = 1
const EV_ABS = 3
const missing = await missingSystemPackages()
if (missing.length > 0) console.warn(`lab tests of SPICE are skipped: not installed: ${missing.join(', ')}`)

describe.skipIf(missing.length > 0)('SPICE and a guest', () => {
  let provider: LabProvider
  let vm: { host: string; uuid: string } | undefined
  let connection: HostConnection
  let target: ProtocolTarget

  beforeAll(async () => {
    provider = createLabProvider()
    const [host] = await provider.hosts()
    const owner = { run: `test-${process.pid}`, lease: 'spice', pid: process.pid, expires: Date.now() + 600_000 }
    const request = { host: host!.id, name: 'vm-903', profile: 'spice', owner }
    vm = { host: host!.id, ...(await provider.create(request)) }
    connection = await HostConnection.open(host!)
    target = await connection.target('vm-903')
  })
  afterAll(async () => {
    await connection?.close()
    if (vm) await provider.destroy(vm)
    await provider?.close()
  })

  async function connected(options?: ConstructorParameters<typeof SpiceProtocol>[0]): Promise<SpiceProtocol> {
    const spice = new SpiceProtocol(options)
    onTestFinished(() => spice.disconnect())
    await spice.connect(target, { timeoutMs: 20_000 })
    return spice
  }

  async function agent(execute: string, parameters?: object): Promise<Record<string, unknown>> {
    return JSON.parse(await target.agentCommand(JSON.stringify({ execute, arguments: parameters }))).return
  }

  /** Starts a shell script in the guest; the answer gives what it printed once it ended. */
  async function shell(script: string): Promise<() => Promise<Buffer>> {
    const { pid } = await agent('guest-exec', { path: '/bin/sh', arg: ['-c', script], 'capture-output': true })
    return () =>
      pollUntil(script, { timeoutMs: 20_000 }, async () => {
        const status = await agent('guest-exec-status', { pid })
        return status['exited'] ? Buffer.from(String(status['out-data'] ?? ''), 'base64') : undefined
      })
  }

  /** The first events of a kind that the guest's device reports, as code and value. */
  async function watch(device: string, type: number, events: number) {
    const count = events * 3
    const output = await shell(`head -c ${count * EVENT_BYTES} /dev/input/atp/${device}`)
    await (
      await shell(`until ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q input/event; do usleep 10000; done`)
    )()
    return async () => {
      const bytes = await output()
      const found: [code: number, value: number][] = []
      for (let at = 0; at + EVENT_BYTES <= bytes.length; at += EVENT_BYTES) {
        if (bytes.readUInt16LE(at + 16) === type) found.push([bytes.readUInt16LE(at + 18), bytes.readInt32LE(at + 20)])
      }
      return found
    }
  }

  it('is a protocol of the registry: the console of the XML, with its password, main and inputs and display', async () => {
    const spice = protocolRegistry.create('spice') as SpiceProtocol
    onTestFinished(() => spice.disconnect())
    await spice.connect(target, { timeoutMs: 20_000 })
    expect(spice.isConnected()).toBe(true)
    expect(spice.connection.channels.map(({ type }) => type)).toEqual(['main', 'inputs', 'display'])
    expect(spice.connection.main.vmName).toBe('vm-903')
    const frame = await spice.receive({ timeoutMs: 10_000 })
    expect(frame.length).toBeGreaterThanOrEqual(6)
    await expect(spice.send(Uint8Array.of(1, 2, 3))).rejects.toMatchObject({ code: 'ATP_SPICE_MESSAGE' })
    await spice.disconnect()
    expect(spice.isConnected()).toBe(false)
  })

  it('lets the guest see keys, typed and raw', async () => {
    const { connection } = await connected()
    const inputs = connection.getChannel('inputs')!
    const seen = await watch('ps2-keyboard', EV_KEY, 4)
    await inputs.keyDown(0x1e)
    await inputs.keyUp(0x1e)
    // 0x30 is "b".
    await inputs.scancodes(Uint8Array.of(0x30, 0xb0))
    expect(await seen()).toEqual([
      [30, 1],
      [30, 0],
      [48, 1],
      [48, 0],
    ])
  })

  it('puts the pointer where it is told, in client mode', async () => {
    const { connection } = await connected()
    await connection.main.requestMouseMode('client')
    await pollUntil('client mode', { timeoutMs: 5000 }, async () => connection.mouseMode === 'client' || undefined)
    const inputs = connection.getChannel('inputs')!
    await inputs.mousePosition(10, 20)
    const seen = await watch('virtio-tablet', EV_ABS, 1)
    await inputs.mousePosition(512, 384)
    const positions = await seen()
    expect(positions.map(([code]) => code)).toEqual([0, 1])
    for (const [, value] of positions) expect(Math.abs(value - 16_384)).toBeLessThan(64)
    await expect(inputs.mouseMotion(1, 1)).rejects.toMatchObject({ code: 'ATP_SPICE_MOUSE_MODE' })
  })

  it('carries bytes to a port of the guest and back', async () => {
    const { connection } = await connected()
    const port = await connection.openChannel('port')
    expect(port.portName).toBe('atp.port.0')
    const echo = await shell(
      'head -c 15 /dev/virtio-ports/atp.port.0 > /tmp/in && cat /tmp/in > /dev/virtio-ports/atp.port.0',
    )
    await pollUntil('the guest', { timeoutMs: 10_000 }, async () => port.guestOpen || undefined)
    let back = Buffer.alloc(0)
    port.onData = (bytes) => (back = Buffer.concat([back, bytes]))
    await port.sendData(new TextEncoder().encode('你好 desktop!')).catch(() => {})
    await echo()
    await expect.poll(() => back.toString('utf8'), { timeout: 5000 }).toBe('你好 desktop!')
  })

  it('brings the sound of the guest', async () => {
    const { connection } = await connected()
    const playback = await connection.openChannel('playback')
    let [format, loudest, bytes] = [undefined as unknown, 0, 0]
    playback.events = {
      onStart: (started) => (format = started),
      onData: (_, packet) => {
        bytes += packet.length
        const samples = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
        for (let at = 0; at + 2 <= packet.length; at += 2)
          loudest = Math.max(loudest, Math.abs(samples.getInt16(at, true)))
      },
    }
    // A square wave of 8000 bytes a second.
    const wave = `i=0; while [ $i -lt 100 ]; do printf '\\000\\000\\000\\000\\377\\377\\377\\377'; i=$((i+1)); done > /tmp/w`
    const play =
      'for n in 1 2 3 4 5 6 7 8 9 10 11 12; do cat /tmp/w; done | aplay -q -D plughw:0 -t raw -f U8 -r 8000 -'
    await (
      await shell(`${wave}; amixer -q sset Master 100% unmute; amixer -q sset PCM 100% unmute; ${play}`)
    )()
    await expect.poll(() => bytes, { timeout: 10_000 }).toBeGreaterThan(48_000)
    expect(format).toEqual({ channels: 2, frequencyHz: expect.any(Number) })
    expect(loudest).toBeGreaterThan(1000)
  })

  it('opens with a ticket of its own, and not with the one before', async () => {
    const { connection } = await connected({ newTicketForS: 60 })
    expect(connection.state).toBe('open')
    await connection.disconnectAll()
    // The password in the XML is no longer the console's.
    await expect(connected()).rejects.toMatchObject({ code: 'ATP_SPICE_AUTH' })
  })
})
