import { describe, expect, it } from 'vitest'
import { SpiceInputPath, type SpiceInputs } from '../../../framework/input/index.ts'

/** An inputs channel that writes down what it is told, and tells that each message leaves. */
function channel(): { inputs: SpiceInputs; sent: string[] } {
  const sent: string[] = []
  const say =
    (verb: string, count: number) =>
    async (...args: unknown[]) => {
      sent.push([verb, ...args.slice(0, count)].join(' '))
      ;(args[count] as { onSend?: () => void } | undefined)?.onSend?.()
    }
  const inputs: SpiceInputs = {
    keyDown: say('down', 1),
    keyUp: say('up', 1),
    mouseMotion: say('motion', 2),
    mousePosition: say('position', 2),
    mousePress: say('press', 1),
    mouseRelease: say('release', 1),
    wheel: say('wheel', 1),
  }
  return { inputs, sent }
}

describe('the way into the guest through SPICE', () => {
  it('sends keys as scan codes and notes when each left', async () => {
    const { inputs, sent } = channel()
    const path = new SpiceInputPath(inputs, 'ps2')
    const { atNs, eachAtNs } = await path.inject([
      { type: 'key', qcode: 'shift', down: true },
      { type: 'key', qcode: 'right', down: true },
      { type: 'key', qcode: 'right', down: false },
    ])
    expect(sent).toEqual([`down ${0x2a}`, `down ${0xe04d}`, `up ${0xe04d}`])
    expect(eachAtNs).toHaveLength(3)
    expect(eachAtNs[0]).toBe(atNs)
    expect(eachAtNs.toSorted((a, b) => Number(a - b))).toEqual(eachAtNs)
    await expect(path.inject([{ type: 'key', qcode: 'nothing', down: true }])).rejects.toMatchObject({
      code: 'ATP_KEY_DEVICE',
    })
  })

  it('tells the channel that the device has room, and says nothing of it otherwise', async () => {
    const told: unknown[] = []
    const inputs: SpiceInputs = {
      ...channel().inputs,
      keyDown: async (_, options) => void told.push(options && 'hasRoom' in options ? options.hasRoom : undefined),
    }
    const path = new SpiceInputPath(inputs, 'ps2')
    await path.inject([{ type: 'key', qcode: 'a', down: true }], { hasRoom: true })
    await path.inject([{ type: 'key', qcode: 'a', down: true }])
    expect(told).toEqual([true, undefined])
  })

  it('puts both axes of a move into one message', async () => {
    const { inputs, sent } = channel()
    const at = { x: 0, y: 0 }
    const path = new SpiceInputPath(inputs, 'virtio', { screen: { width: 1024, height: 768 }, at })
    const { eachAtNs } = await path.inject([
      { type: 'abs', axis: 'x', value: 32_767 },
      { type: 'abs', axis: 'y', value: 0 },
    ])
    await path.inject([{ type: 'abs', axis: 'y', value: 32_767 }])
    await path.inject([
      { type: 'rel', axis: 'x', value: 5 },
      { type: 'rel', axis: 'y', value: -3 },
    ])
    expect(sent).toEqual(['position 1023 0', 'position 1023 767', 'motion 5 -3'])
    expect(eachAtNs[0]).toBe(eachAtNs[1])
    expect(at).toEqual({ x: 1023, y: 767 })
  })

  it('knows where QEMU makes the guest see the pointer', () => {
    const path = new SpiceInputPath(channel().inputs, 'virtio', {
      screen: { width: 1024, height: 768 },
      at: { x: 0, y: 0 },
    })
    // Pixels and what a guest's evdev reported for them.
    for (const [axis, last, pixel, seen] of [
      ['x', 1023, 10, 319],
      ['x', 1023, 639, 20_447],
      ['y', 767, 10, 426],
      ['y', 767, 300, 12_799],
      ['y', 767, 50, 2133],
    ] as const) {
      expect(path.nearest(axis, Math.round((pixel * 32_767) / last))).toBe(seen)
    }
    expect(path.nearest('x', path.step('x'))).toBeGreaterThan(path.nearest('x', 0))
  })

  it('turns the wheel once for a press and its release', async () => {
    const { inputs, sent } = channel()
    const path = new SpiceInputPath(inputs, 'usb')
    for (const down of [true, false]) await path.inject([{ type: 'button', button: 'wheel-up', down }])
    for (const down of [true, false]) await path.inject([{ type: 'button', button: 'left', down }])
    expect(sent).toEqual(['wheel -1', 'press left', 'release left'])
  })
})
