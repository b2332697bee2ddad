/** Links that damage input or its observation, at random moments: each verdict is red, and tells the two apart. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { DesktopVm } from '../../../framework/desktop/index.ts'
import type { QmpInputEvent } from '../../support/sabotage/libvirt-proxy.ts'
import { leaseProxied, type ProxiedVms } from '../../support/sabotage/proxied-vms.ts'
import { throwDice, type Dice } from '../../support/sabotage/seed.ts'
import { DAMAGED, deliveryOf, errorOf, IMPOSSIBLE } from '../../support/sabotage/verdicts.ts'

const STROKES = 40
const EVENTS = 2 * STROKES
const RECORD_BYTES = 24
const EV_KEY = 1
const KEY_F12 = 88

let vms: ProxiedVms
let vm: DesktopVm

beforeAll(async () => {
  vms = await leaseProxied('ps2', 2)
})
afterAll(() => vms?.[Symbol.asyncDispose]())

describe('a link that damages input on its way to the hypervisor', () => {
  beforeAll(async () => {
    vms.proxy.meddling = {}
    vm = await vms.open()
    await vm.keyboard.press('shift', { verify: 'require' })
  })
  beforeEach(() => {
    vms.proxy.meddling = {}
  })
  afterAll(() => vm?.close())

  /** Meddles with the `at`th stroke, counted by presses, wherever the calls are cut. */
  function atStroke(at: number, meddle: (stroke: QmpInputEvent[]) => QmpInputEvent[]) {
    let strokes = 0
    return (events: QmpInputEvent[]) => {
      const out: QmpInputEvent[] = []
      for (let index = 0; index < events.length; index += 2) {
        const stroke = events.slice(index, index + 2)
        out.push(...(++strokes === at ? meddle(stroke) : stroke))
      }
      return out
    }
  }
  const typing = (text: string) => errorOf(vm.keyboard.type(text, { verify: 'require' }))

  it('loses a key', async () => {
    const dice = throwDice()
    const [text, at] = [dice.letters(STROKES), dice.between(1, STROKES)]
    vms.proxy.meddling.input = atStroke(at, () => [])
    const error = await typing(text)
    expect(error).toMatchObject(DAMAGED)
    expect(deliveryOf(error)).toMatchObject({ seen: EVENTS - 2, lost: 2, duplicated: 0, reordered: 0 })
    expect(error.message).toContain(
      `sent KEY_${text[at - 1]?.toUpperCase()} press, saw nothing (event ${2 * at - 1} of ${EVENTS})`,
    )
  })

  it('repeats a key', async () => {
    const dice = throwDice()
    vms.proxy.meddling.input = atStroke(dice.between(1, STROKES), (stroke) => [...stroke, ...stroke])
    const error = await typing(dice.letters(STROKES))
    expect(deliveryOf(error)).toMatchObject({ seen: EVENTS + 2, lost: 0, duplicated: 2 })
  })

  it('repeats the last key of a single press', async () => {
    vms.proxy.meddling.input = (events) => [...events, ...events]
    const error = await errorOf(vm.keyboard.press('f9', { verify: 'require' }))
    expect(deliveryOf(error)).toMatchObject({ seen: 4, lost: 0, duplicated: 2 })
    expect(error.message).toContain('saw KEY_F9 press once too often')
  })

  it('leaves a modifier down', async () => {
    vms.proxy.meddling.input = (events) => events.filter(({ data }) => data.key?.data !== 'shift' || data.down)
    const error = await errorOf(vm.keyboard.press('shift+f9', { verify: 'require' }))
    expect(deliveryOf(error)).toMatchObject({ lost: 1, stuck: ['KEY_LEFTSHIFT'] })
    expect(error.message).toContain('still down: KEY_LEFTSHIFT')
    vms.proxy.meddling = {}
    // The guest sees no second press of a key that is down.
    await vm.keyboard.press('shift', { verify: 'off' })
  })

  it('is slow: delivered, and the latency says so', async () => {
    const dice = throwDice()
    const delayMs = dice.between(30, 60)
    vms.proxy.meddling.input = async (events) => {
      await new Promise((resolve) => setTimeout(resolve, delayMs))
      return events
    }
    const { outcome, latency } = await vm.keyboard.type(dice.letters(STROKES), { verify: 'require' })
    expect(outcome).toBe('delivered')
    expect(latency?.minMs).toBeGreaterThan(delayMs - 1 - (latency?.boundMs ?? 0))
  })

  it('sends a click elsewhere', async () => {
    const dice = throwDice()
    const off = dice.pick([-300, -2, 2, 300])
    await vm.mouse.move(100, 100, { verify: 'require' })
    vms.proxy.meddling.input = (events) =>
      events.map((event) =>
        event.data.axis === 'x' ? { ...event, data: { ...event.data, value: (event.data.value ?? 0) + off } } : event,
      )
    const error = await errorOf(vm.mouse.click({ x: 200, y: 150, verify: 'require' }))
    expect(deliveryOf(error)).toMatchObject({ lost: 1, duplicated: 1 })
    expect(error.message).toMatch(/sent ABS_X \d+, saw nothing/)
  })
})

describe('a link that damages the observation', () => {
  beforeEach(async () => {
    vms.proxy.meddling = {}
    vm = await vms.open()
    await vm.keyboard.press('shift', { verify: 'require' })
  })
  afterEach(() => vm.close())

  /** Meddles once, with the first key that arrives after so many bytes. */
  function once(afterBytes: number, meddle: (bytes: Buffer, keyAt: number) => Buffer) {
    let seenBytes = 0
    let done = false
    vms.proxy.meddling.observation = (bytes) => {
      seenBytes += bytes.length
      const at = keyAt(bytes)
      if (done || seenBytes < afterBytes || at === undefined) return bytes
      done = true
      return meddle(bytes, at)
    }
  }
  /** Where the first key's record begins. */
  function keyAt(bytes: Buffer): number | undefined {
    for (let at = 0; at + RECORD_BYTES <= bytes.length; at += RECORD_BYTES) {
      if (bytes.readUInt16LE(at + 16) === EV_KEY) return at
    }
    return undefined
  }
  const anywhere = (dice: Dice) => dice.between(1, (STROKES / 2) * 6 * RECORD_BYTES)
  const without = (bytes: Buffer, at: number, count: number) =>
    Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + count)])

  it.each([
    ['loses a key', (bytes: Buffer, at: number) => without(bytes, at, RECORD_BYTES), /carried \d+ of the \d+ bytes/],
    ['loses all that arrives at once', () => Buffer.alloc(0), /carried \d+ of the \d+ bytes/],
    ['brings records twice', (bytes: Buffer) => Buffer.concat([bytes, bytes]), /carried \d+ of the \d+ bytes/],
    ['loses bytes', (bytes: Buffer, at: number) => without(bytes, at, 7), /no kernel wrote/],
    ['adds bytes', (bytes: Buffer) => Buffer.concat([Buffer.from('你好'), bytes]), /no kernel wrote/],
  ])('%s: nothing can be said, and nothing is called lost', async (_, meddle, reason) => {
    const dice = throwDice()
    once(anywhere(dice), meddle)
    const error = await errorOf(vm.keyboard.type(dice.letters(STROKES), { verify: 'require' }))
    expect(error).toMatchObject(IMPOSSIBLE)
    expect(error.message).toMatch(reason)
    // Whoever asks again gets an observer anew.
    vms.proxy.meddling = {}
    expect(await vm.keyboard.type('abc', { verify: 'require' })).toMatchObject({ outcome: 'delivered' })
  })

  it('falls silent', async () => {
    const dice = throwDice()
    const afterBytes = anywhere(dice)
    let seenBytes = 0
    vms.proxy.meddling.observation = (bytes) => {
      seenBytes += bytes.length
      return seenBytes < afterBytes ? bytes : Buffer.alloc(0)
    }
    const delivery = await vm.keyboard.type(dice.letters(STROKES), { verify: 'observe' })
    expect(delivery).toMatchObject({ outcome: 'unverified', lost: 0, seen: 0 })
    expect(delivery.reason).toMatch(/carried \d+ of the \d+ bytes/)
  })

  it('is cut', async () => {
    const dice = throwDice()
    once(anywhere(dice), (bytes) => {
      vms.proxy.cut()
      return bytes
    })
    const error = await errorOf(vm.keyboard.type(dice.letters(STROKES), { verify: 'require' }))
    expect(error.verdict).toBe('infrastructure')
    expect(error.code).not.toBe('ATP_INPUT_DAMAGED')
  })

  it('changes a key: red, as if the guest had seen it', async () => {
    const dice = throwDice()
    once(anywhere(dice), (bytes, at) => {
      const changed = Buffer.from(bytes)
      changed.writeUInt16LE(KEY_F12, at + 18)
      return changed
    })
    const error = await errorOf(vm.keyboard.type(dice.letters(STROKES), { verify: 'require' }))
    expect(error).toMatchObject(DAMAGED)
    expect(deliveryOf(error)).toMatchObject({ lost: 1, duplicated: 1 })
    expect(error.message).toMatch(/saw KEY_F12 (press|release), which was not sent/)
  })
})

it('an observation channel that leads to another VM, where the same keys are pressed, proves nothing', async () => {
  const dice = throwDice()
  const [one, other] = [await vms.open(0), await vms.open(1)]
  vms.proxy.meddling = { channelsOf: vms.uuids[1] as string }
  const text = dice.letters(STROKES)
  const [, error] = await Promise.all([
    other.keyboard.type(text, { verify: 'off' }),
    errorOf(one.keyboard.type(text, { verify: 'require', timeoutMs: 60_000 })),
  ])
  expect(error).toMatchObject(IMPOSSIBLE)
  expect(error.message).toContain('nothing comes from its readers')
  await one.close()
  await other.close()
}, 60_000)
