/** Guests that damage their input, at random moments: each verdict is red, for the right reason. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sleep } from '../../../framework/core/index.ts'
import type { DesktopVm } from '../../../framework/desktop/index.ts'
import { bringSaboteur, missingCompiler, sabotage, type Damage } from '../../support/sabotage/guest-saboteur.ts'
import { throwDice, type Dice } from '../../support/sabotage/seed.ts'
import { DAMAGED, deliveryOf, errorOf, IMPOSSIBLE } from '../../support/sabotage/verdicts.ts'
import { leaseVm, type LeasedTestVm } from '../leased-vm.ts'

const STROKES = 40
const EVENTS = 2 * STROKES
/** More than may be on their way before a guest that reports nothing is given up. */
const LONG = 120
/** Typed for longer than a busy guest takes to begin a program. */
const SLOW = { strokes: 150, delayMs: 20 }
const KEY_F12 = 88
const BTN_LEFT = 272

describe.each([
  { profile: 'ps2', keyboard: 'ps2-keyboard', via: 'qmp' },
  { profile: 'virtio', keyboard: 'virtio-keyboard', via: 'qmp' },
  { profile: 'spice', keyboard: 'ps2-keyboard', via: 'spice' },
] as const)('a guest of profile $profile over $via', ({ profile, keyboard, via }) => {
  const pointer = 'virtio-tablet'
  const required = { via, verify: 'require' } as const
  beforeEach(({ skip }) => skip(missingCompiler !== undefined, missingCompiler))
  let leased: LeasedTestVm

  beforeAll(async () => {
    if (missingCompiler) return
    leased = await leaseVm(profile)
    await bringSaboteur(leased.vm)
  })
  afterAll(() => leased?.end())

  /** Each meets the guest anew, since a reader keeps the device that it opened. */
  async function whileSabotaged<T>(device: string, damage: Damage, work: (vm: DesktopVm) => Promise<T>): Promise<T> {
    await using _ = await sabotage(leased.vm, device, damage)
    const vm = await leased.open('shared')
    try {
      return await work(vm)
    } finally {
      await vm.close()
    }
  }
  const typing = (damage: Damage, text: string) =>
    whileSabotaged(keyboard, damage, (vm) => errorOf(vm.keyboard.type(text, required)))
  /** A stroke that has others around it. */
  const anyStroke = (dice: Dice) => dice.between(2, STROKES - 2)
  /** One after which more are waiting than may be on their way at once. */
  const earlyStroke = (dice: Dice) => dice.between(2, STROKES / 4)
  const keyName = (text: string, at: number) => `KEY_${text[at - 1]?.toUpperCase()}`

  it('that drops every nth key', async () => {
    const dice = throwDice()
    const [text, every] = [dice.letters(STROKES), dice.between(3, 12)]
    const error = await typing({ kind: 'drop', at: every }, text)
    const lost = 2 * Math.floor(STROKES / every)
    expect(error).toMatchObject(DAMAGED)
    expect(deliveryOf(error)).toMatchObject({ sent: EVENTS, seen: EVENTS - lost, lost, duplicated: 0, reordered: 0 })
    expect(deliveryOf(error).differences[0]).toBe(
      `sent ${keyName(text, every)} press, saw nothing (event ${2 * every - 1} of ${EVENTS})`,
    )
  })

  it('that sees a key twice', async () => {
    const dice = throwDice()
    const [text, at] = [dice.letters(STROKES), dice.between(1, STROKES)]
    const error = await typing({ kind: 'double', at }, text)
    expect(error).toMatchObject(DAMAGED)
    expect(deliveryOf(error)).toMatchObject({ seen: EVENTS + 2, lost: 0, duplicated: 2, reordered: 0 })
    expect(error.message).toContain(`saw ${keyName(text, at)} press once too often`)
  })

  it('that swaps two keys', async () => {
    const dice = throwDice()
    const [text, at] = [dice.letters(STROKES), anyStroke(dice)]
    const error = await typing({ kind: 'swap', at }, text)
    expect(error).toMatchObject(DAMAGED)
    expect(deliveryOf(error)).toMatchObject({ seen: EVENTS, lost: 0, duplicated: 0, reordered: 2 })
    expect(error.message).toMatch(/KEY_[A-Z] press arrived (late|early)/)
  })

  it('in which a key sticks', async () => {
    const dice = throwDice()
    const letters = [...dice.letters(STROKES)]
    const at = anyStroke(dice)
    // The only one of its kind: the next release of its like would let it go.
    letters[at - 1] = '7'
    const error = await typing({ kind: 'stick', at }, letters.join(''))
    expect(error).toMatchObject(DAMAGED)
    expect(deliveryOf(error)).toMatchObject({ lost: 1, duplicated: 0, stuck: ['KEY_7'] })
    expect(error.message).toContain('still down: KEY_7')
  })

  it('that takes one key for another', async () => {
    const dice = throwDice()
    const [text, at] = [dice.letters(STROKES), anyStroke(dice)]
    const error = await typing({ kind: 'alter', at, amount: KEY_F12 }, text)
    expect(deliveryOf(error)).toMatchObject({ lost: 2, duplicated: 2, reordered: 0 })
    expect(error.message).toContain('saw KEY_F12 press, which was not sent')
    expect(error.message).toContain(`sent ${keyName(text, at)} press, saw nothing`)
  })

  it('in which somebody else types, too', async () => {
    const dice = throwDice()
    const error = await typing({ kind: 'foreign', at: anyStroke(dice), amount: KEY_F12 }, dice.letters(STROKES))
    expect(deliveryOf(error)).toMatchObject({ lost: 0, duplicated: 2, stuck: [] })
    expect(error.message).toContain('saw KEY_F12 press, which was not sent')
  })

  it('that falls silent', async () => {
    const dice = throwDice()
    const [text, at] = [dice.letters(LONG), earlyStroke(dice)]
    const error = await typing({ kind: 'silent', at }, text)
    expect(error).toMatchObject(DAMAGED)
    const { sent, seen, lost, differences } = deliveryOf(error)
    expect({ seen, lost }).toEqual({ seen: 2 * (at - 1), lost: sent - 2 * (at - 1) })
    expect(differences[0]).toMatch(/^stopped after \d+ of 120 strokes: the guest reported nothing for \d+ ms/)
  })

  it('whose keyboard another program has for itself', async () => {
    const error = await typing({ kind: 'grab', at: 1 }, throwDice().letters(STROKES))
    expect(error).toMatchObject(DAMAGED)
    expect(deliveryOf(error)).toMatchObject({ seen: 0 })
  })

  it('that answers too late', async () => {
    const dice = throwDice()
    const damage: Damage = { kind: 'late', at: earlyStroke(dice), amount: dice.between(4500, 5500) }
    await whileSabotaged(keyboard, damage, async (vm) => {
      const error = await errorOf(vm.keyboard.type(dice.letters(LONG), required))
      expect(error).toMatchObject(DAMAGED)
      expect(error.message).toContain('the guest reported nothing for')
    })
  })

  it('that is a little late: delivered, and the loop says so', async () => {
    const dice = throwDice()
    const amount = dice.between(200, 500)
    const damage: Damage = { kind: 'late', at: anyStroke(dice), amount }
    const { outcome, latency } = await whileSabotaged(keyboard, damage, (vm) =>
      vm.keyboard.type(dice.letters(STROKES), required),
    )
    expect(outcome).toBe('delivered')
    expect(latency?.loop?.maxMs).toBeGreaterThan(amount)
  })

  it('whose kernel dropped events', async () => {
    const dice = throwDice()
    const error = await typing({ kind: 'dropped', at: anyStroke(dice) }, dice.letters(STROKES))
    expect(error).toMatchObject(IMPOSSIBLE)
    expect(error.message).toContain('SYN_DROPPED')
  })

  it('that writes garbage', async () => {
    const dice = throwDice()
    const error = await typing(
      { kind: 'garbage', at: anyStroke(dice), amount: dice.between(1, 200) },
      dice.letters(STROKES),
    )
    expect(error).toMatchObject(IMPOSSIBLE)
    expect(error.message).toContain('no kernel wrote')
  })

  it('that writes a part of a record', async () => {
    const dice = throwDice()
    const error = await typing({ kind: 'cut', at: anyStroke(dice), amount: dice.between(1, 23) }, dice.letters(STROKES))
    expect(error).toMatchObject(IMPOSSIBLE)
    expect(error.message).toContain('no kernel wrote')
  })

  it('whose device ends in the middle', async () => {
    const dice = throwDice()
    const error = await typing({ kind: 'die', at: anyStroke(dice) }, dice.letters(STROKES))
    expect(error).toMatchObject(IMPOSSIBLE)
    expect(error.message).toContain("the guest's reader of input events has ended")
  })

  it('whose clock is set in the middle: delivered, and no false latency', async () => {
    const dice = throwDice()
    const at = dice.between(STROKES / 2, STROKES - 2)
    const damage: Damage = { kind: 'step', at, amount: dice.pick([-3600, -2, 2, 3600]) }
    const { outcome, latency, warmupMs, excluded } = await whileSabotaged(keyboard, damage, (vm) =>
      vm.keyboard.type(dice.letters(STROKES), required),
    )
    expect(outcome).toBe('delivered')
    expect((latency?.samples ?? 0) + (warmupMs?.length ?? 0)).toBe(at - 1)
    expect(Object.values(excluded ?? {})).toEqual([STROKES - at + 1])
    expect(latency?.maxMs).toBeLessThan(1000)
  })

  it('in which somebody sets the clock: delivered, and what cannot be true is left out', async () => {
    const dice = throwDice()
    const vm = await leased.open('shared')
    const seconds = dice.pick([-3600, -1, 1, 3600])
    const setClock = (by: number) => leased.vm.guest.shell(`date -s @$(($(date +%s) + ${by}))`)
    try {
      await vm.keyboard.press('shift', required)
      const typed = vm.keyboard.type(dice.letters(SLOW.strokes), { ...required, delayMs: SLOW.delayMs })
      await sleep(dice.between(50, 500))
      await setClock(seconds)
      const { outcome, latency, excluded = {} } = await typed
      expect(outcome).toBe('delivered')
      const left = Object.values(excluded).reduce((sum, count) => sum + count, 0)
      expect(left).toBeGreaterThan(0)
      expect((latency?.samples ?? 0) + left).toBe(SLOW.strokes)
      expect(latency?.maxMs ?? 0).toBeLessThan(500)
      expect(latency?.minMs ?? 0).toBeGreaterThan(-(latency?.boundMs ?? 1))
    } finally {
      await setClock(-seconds)
      await vm.close()
    }
  })

  it('in which somebody kills the reader', async () => {
    const dice = throwDice()
    const vm = await leased.open('shared')
    try {
      await vm.keyboard.press('shift', required)
      const typed = errorOf(vm.keyboard.type(dice.letters(SLOW.strokes), { ...required, delayMs: SLOW.delayMs }))
      typed.catch(() => {})
      await sleep(dice.between(50, 500))
      await leased.vm.guest.shell('killall cat')
      const error = await typed
      expect(error).toMatchObject(IMPOSSIBLE)
      expect(error.message).toContain("the guest's reader of input events has ended")
    } finally {
      await vm.close()
    }
  })

  it('that loses a click, or where it was', async () => {
    const dice = throwDice()
    const count = dice.between(3, 6)
    const every = dice.between(2, count)
    const clicks = await whileSabotaged(pointer, { kind: 'drop', at: every }, (vm) =>
      errorOf(vm.mouse.click({ count, ...required })),
    )
    expect(clicks).toMatchObject(DAMAGED)
    expect(deliveryOf(clicks)).toMatchObject({ sent: 2 * count, lost: 2 * Math.floor(count / every), stuck: [] })
    expect(clicks.message).toContain('sent BTN_LEFT press, saw nothing')

    const place = [dice.between(10, 300), dice.between(10, 300)] as const
    const off = dice.pick([-40, -2, 2, 40])
    // Each axis is moved aside first: the third position is that of the target's first axis.
    const moved = await whileSabotaged(pointer, { kind: 'shift', at: 3, amount: off }, (vm) =>
      errorOf(vm.mouse.move(...place, required)),
    )
    expect(moved).toMatchObject(DAMAGED)
    expect(deliveryOf(moved)).toMatchObject({ sent: 2, lost: 1 })
    expect(moved.message).toMatch(/saw ABS_X \d+, which was not sent/)

    const foreign = await whileSabotaged(pointer, { kind: 'foreign', at: 2, amount: BTN_LEFT }, (vm) =>
      errorOf(vm.mouse.click({ button: 'right', count, ...required })),
    )
    expect(deliveryOf(foreign)).toMatchObject({ lost: 0, duplicated: 2 })
  })

  it('is green again when nobody meddles', async () => {
    const vm = await leased.open('shared')
    try {
      const text = throwDice().letters(STROKES)
      expect(await vm.keyboard.type(text, required)).toMatchObject({ sent: EVENTS, seen: EVENTS })
    } finally {
      await vm.close()
    }
  })
})
