import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/index.ts'
import type { ObservedEvent } from '../../../framework/input/api.ts'
import {
  GuestClock,
  startEvdevObserver,
  type EvdevTarget,
  type ObservationChannel,
} from '../../../framework/verify/index.ts'

const DEVICES = `I: Bus=0011 Vendor=0001 Product=0001 Version=ab41
N: Name="AT Translated Set 2 keyboard"
H: Handlers=kbd leds event0 
B: KEY=402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe

I: Bus=0006 Vendor=0627 Product=0003 Version=0002
N: Name="QEMU Virtio Tablet"
H: Handlers=mouse0 event1 
B: KEY=1f0000 0 0 0 0
B: REL=100
B: ABS=3

I: Bus=0011 Vendor=0002 Product=0006 Version=0000
N: Name="ImExPS/2 Generic Explorer Mouse"
H: Handlers=mouse1 event2 
B: KEY=1f0000 0 0 0 0
B: REL=143
`

class Channel implements ObservationChannel {
  sink: Parameters<ObservationChannel['start']>[0] | undefined
  readonly taken: Uint8Array[] = []
  destroyed = false
  /** What the guest wrote before anybody read. */
  written = ''
  start(sink: Parameters<ObservationChannel['start']>[0]): void {
    this.sink = sink
    // A byte at a time, as a stream may be cut.
    for (const byte of Buffer.from(this.written)) sink.onData(Uint8Array.of(byte))
  }
  async write(bytes: Uint8Array): Promise<void> {
    this.taken.push(bytes)
  }
  destroy(): void {
    this.destroyed = true
  }
}

/** A guest whose shell answers what a test wants. */
function guestOf(answer: (line: string) => { exitCode: number; stdoutText: string; stderrText?: string }) {
  const lines: string[] = []
  const channels = new Map<string, Channel>()
  return {
    lines,
    channels,
    clock: new GuestClock(async () => process.hrtime.bigint()),
    shell: async (line: string) => {
      lines.push(line)
      const answered = { stderrText: '', ...answer(line) }
      for (const [, greeting, name] of line.matchAll(/\{ echo '((\S+) \w+)'/g)) {
        const channel = channels.get(name as string)
        if (channel) channel.written = `left by another reader${greeting}\n`
      }
      return answered
    },
    openChannel: async (name: string) => {
      const channel = new Channel()
      channels.set(name, channel)
      return channel
    },
  }
}
const healthy = (line: string) => {
  if (line.startsWith('cat /proc')) return { exitCode: 0, stdoutText: DEVICES }
  if (line.startsWith('kill')) return { exitCode: 0, stdoutText: '' }
  if (line.startsWith('for pid')) return { exitCode: 0, stdoutText: 'S \n' }
  return { exitCode: 0, stdoutText: line.includes('event2') ? '71\n72\n' : '71\n' }
}
const keyboard: EvdevTarget = { what: 'keyboard', device: 'ps2', channels: ['org.qemu.guest_agent.0', 'atp.evdev.0'] }
const pointer: EvdevTarget = { ...keyboard, what: 'pointer', channels: ['atp.evdev.10', 'atp.evdev.2', 'atp.evdev.0'] }

/** An `input_event` of one second after the epoch. */
function record(type: number, code: number, value: number): Uint8Array {
  const bytes = new Uint8Array(24)
  const view = new DataView(bytes.buffer)
  view.setBigInt64(0, 1n, true)
  view.setUint16(16, type, true)
  view.setUint16(18, code, true)
  view.setInt32(20, value, true)
  return bytes
}
const codeOf = (work: Promise<unknown>) =>
  work.then(
    () => 'resolved',
    (error: unknown) => (isAtpError(error) ? `${error.code} ${error.verdict}` : String(error)),
  )

describe('starting', () => {
  it('streams the keyboard into its own channel, and the pointers into the others, in order', async () => {
    const guest = guestOf(healthy)
    await startEvdevObserver(guest, keyboard)
    expect([...guest.channels.keys()]).toEqual(['atp.evdev.0'])
    expect(guest.lines[1]).toContain('exec 3</dev/input/event0 4>/dev/virtio-ports/atp.evdev.0')
    await startEvdevObserver(guest, pointer)
    expect([...guest.channels.keys()]).toEqual(['atp.evdev.0', 'atp.evdev.2', 'atp.evdev.10'])
    expect(guest.lines.at(-1)).toContain('exec 3</dev/input/event1 4>/dev/virtio-ports/atp.evdev.2')
    expect(guest.lines.at(-1)).toContain('exec 5</dev/input/event2 6>/dev/virtio-ports/atp.evdev.10')
  })

  it('names what is missing, and leaves no channel open', async () => {
    const guest = guestOf(healthy)
    expect(await codeOf(startEvdevObserver(guest, { ...keyboard, device: 'usb' }))).toBe(
      'ATP_VERIFY_NO_DEVICE infrastructure',
    )
    expect(await codeOf(startEvdevObserver(guest, { ...keyboard, channels: [] }))).toBe(
      'ATP_VERIFY_NO_CHANNEL infrastructure',
    )
    const broken = guestOf((line) =>
      line.startsWith('cat') ? healthy(line) : { exitCode: 2, stdoutText: '', stderrText: 'no port' },
    )
    expect(await codeOf(startEvdevObserver(broken, keyboard))).toBe('ATP_VERIFY_GUEST infrastructure')
    expect([...broken.channels.values()].every((channel) => channel.destroyed)).toBe(true)
  })

  it('stops the guest again when its clock cannot be read', async () => {
    const guest = { ...guestOf(healthy), clock: new GuestClock(async () => Promise.reject(new Error('no time'))) }
    expect(await codeOf(startEvdevObserver(guest, keyboard))).toBe('ATP_CLOCK infrastructure')
    expect(guest.lines.at(-1)).toBe('kill 71')
    expect(guest.channels.get('atp.evdev.0')?.destroyed).toBe(true)
  })
})

describe('observing', () => {
  it('passes on keys, positions and motion, and reports dropped events as a gap', async () => {
    const guest = guestOf(healthy)
    const observer = await startEvdevObserver(guest, keyboard)
    const events: ObservedEvent[] = []
    const gaps: string[] = []
    const unsubscribe = observer.subscribe(
      (event) => events.push(event),
      (reason) => gaps.push(reason),
    )
    const { sink } = guest.channels.get('atp.evdev.0') as Channel
    for (const bytes of [record(4, 4, 30), record(1, 30, 1), record(0, 0, 0), record(3, 0, 99)]) sink?.onData(bytes)
    expect(events.map(({ type, code, value, guestNs }) => [type, code, value, guestNs])).toEqual([
      ['key', 30, 1, 1_000_000_000n],
      ['abs', 0, 99, 1_000_000_000n],
    ])
    sink?.onData(record(0, 3, 0))
    expect(gaps).toEqual(["the guest's kernel dropped input events (SYN_DROPPED)"])
    unsubscribe()
    sink?.onData(record(1, 30, 0))
    expect(events).toHaveLength(2)
  })

  it('is over for everybody when a channel closes', async () => {
    const guest = guestOf(healthy)
    const observer = await startEvdevObserver(guest, keyboard)
    guest.channels.get('atp.evdev.0')?.sink?.onClose(new Error('restored'))
    expect(observer.closed).toBe('the observation channel closed: restored')
    const gaps: string[] = []
    observer.subscribe(
      () => {},
      (reason) => gaps.push(reason),
    )
    expect(gaps).toEqual([observer.closed])
    expect(await observer.fault()).toBe(observer.closed)
  })

  it('knows when its reader in the guest has died', async () => {
    const guest = guestOf((line) => (line.includes('kill -0 $pid') ? { exitCode: 1, stdoutText: '' } : healthy(line)))
    const observer = await startEvdevObserver(guest, keyboard)
    expect(await observer.fault()).toBe("the guest's reader of input events has ended")
    expect(observer.closed).toBeDefined()
    await observer.close()
    expect(guest.lines).not.toContain('kill 71')
    const alive = await startEvdevObserver(guestOf(healthy), keyboard)
    expect(await alive.fault()).toBeUndefined()
  })

  it('knows when its channel carries other bytes than its reader wrote', async () => {
    const greetingBytes = 'atp.evdev.0 0123456789abcdef\n'.length
    let counts = [greetingBytes]
    const guest = guestOf((line) =>
      line.startsWith('for pid') ? { exitCode: 0, stdoutText: `S ${counts.shift()}\n` } : healthy(line),
    )
    const observer = await startEvdevObserver(guest, keyboard)
    expect(await observer.fault()).toBeUndefined()
    counts = [greetingBytes + 24, greetingBytes + 24]
    const { sink } = guest.channels.get('atp.evdev.0') as Channel
    setTimeout(() => sink?.onData(record(1, 30, 1)), 30)
    expect(await observer.fault()).toBeUndefined()
    counts = Array.from({ length: 4 }, () => greetingBytes + 72)
    expect(await observer.fault()).toBe(
      `the observation channel carried ${greetingBytes + 24} of the ${greetingBytes + 72} bytes that the guest's reader wrote`,
    )
    await observer.close()
    expect(guest.lines.filter((line) => line === 'kill 71')).toHaveLength(1)
  })

  it('does not take a reader that stands still for input that was lost', async () => {
    let letter = 'T'
    const guest = guestOf((line) =>
      line.startsWith('for pid') ? { exitCode: 0, stdoutText: `${letter} \n` } : healthy(line),
    )
    expect(await (await startEvdevObserver(guest, keyboard)).fault()).toContain('stands still')
    letter = 'S'
    expect(await (await startEvdevObserver(guest, keyboard)).fault()).toBeUndefined()
  })

  it('is over when the channel carries what no kernel wrote, and stops the guest', async () => {
    const guest = guestOf(healthy)
    const observer = await startEvdevObserver(guest, keyboard)
    const events: ObservedEvent[] = []
    const gaps: string[] = []
    observer.subscribe(
      (event) => events.push(event),
      (reason) => gaps.push(reason),
    )
    const { sink } = guest.channels.get('atp.evdev.0') as Channel
    sink?.onData(record(1, 30, 1).subarray(8))
    sink?.onData(record(1, 30, 0))
    expect(gaps).toEqual([expect.stringContaining('no kernel wrote')])
    sink?.onData(record(1, 30, 0))
    expect(events).toEqual([])
    await observer.close()
    expect(guest.lines).toContain('kill 71')
  })

  it('is not begun when the channel leads elsewhere', async () => {
    const guest = guestOf(healthy)
    const deaf = { ...guest, openChannel: async () => new Channel() }
    const started = startEvdevObserver(deaf, keyboard, { timeoutMs: 20 })
    await expect(started).rejects.toThrow('nothing comes from its readers over their channels')
    expect(guest.lines).toContain('kill 71')
  })

  it('stops the guest first and closes its channels, once', async () => {
    const guest = guestOf(healthy)
    const observer = await startEvdevObserver(guest, keyboard)
    await observer.close()
    await observer.close()
    expect(guest.lines.filter((line) => line === 'kill 71')).toHaveLength(1)
    expect(guest.channels.get('atp.evdev.0')?.destroyed).toBe(true)
  })
})

describe('the clock of an observed guest', () => {
  it('is asked over its port where there is one, and through the agent when nothing answers there', async () => {
    const guest = guestOf(healthy)
    await startEvdevObserver(guest, { ...keyboard, channels: [...keyboard.channels, 'atp.clock.0'] })
    const port = guest.channels.get('atp.clock.0')
    expect(guest.lines[1]).toContain('/dev/virtio-ports/atp.clock.0')
    expect(port?.taken).toHaveLength(1)
    expect(port?.destroyed).toBe(true)
    expect(guest.clock.source).toBe('guest-get-time')
    await startEvdevObserver(guest, { ...pointer, channels: [...pointer.channels, 'atp.clock.0'] })
    expect(guest.lines.at(-1)).not.toContain('atp.clock.0')
  })
})
