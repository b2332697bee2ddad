/** A verifier agent in a guest that is damaged, silent, late, another's, or dead: no verdict is green by mistake. */
import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { sleep } from '../../../framework/core/index.ts'
import type { DesktopVm } from '../../../framework/desktop/index.ts'
import { bringSaboteur, missingCompiler, sabotage, type Damage } from '../../support/sabotage/guest-saboteur.ts'
import { leaseProxied, type ProxiedVms } from '../../support/sabotage/proxied-vms.ts'
import { throwDice, type Dice } from '../../support/sabotage/seed.ts'
import { DAMAGED, deliveryOf, errorOf, IMPOSSIBLE } from '../../support/sabotage/verdicts.ts'

const STROKES = 30
const EVENTS = 2 * STROKES
/** Typed for longer than a busy guest takes to begin a program. */
const SLOW = { strokes: 150, delayMs: 20 }
const KEY_F12 = 88
const SAW_SOMETHING = /"seen":\[\[/
const EVENT_ID = /(?<="event_id":")[^"]+/
const AGENT = { observe: 'agent', verify: 'require' } as const

let vms: ProxiedVms
let vm: DesktopVm
const type = (text: string, options: { delayMs?: number } = {}) => vm.keyboard.type(text, { ...AGENT, ...options })

beforeAll(async () => {
  vms = await leaseProxied('agent', 1)
})
beforeEach(async () => {
  vms.proxy.meddling = {}
  vm = await vms.open()
})
afterEach(() => vm.close())
afterAll(() => vms?.[Symbol.asyncDispose]())

describe('an agent in a guest', () => {
  let helper: DesktopVm

  beforeAll(async () => {
    if (missingCompiler) return
    helper = await vms.open()
    await bringSaboteur(helper)
  })
  beforeEach(({ skip }) => skip(missingCompiler !== undefined, missingCompiler))
  afterAll(() => helper?.close())

  async function typing(damage: Damage, text: string) {
    await using _ = await sabotage(helper, 'ps2-keyboard', damage)
    // The agent keeps what it has opened until its reader ends.
    await helper.guest.shell('killall cat')
    return await errorOf(type(text))
  }
  const anyStroke = (dice: Dice) => dice.between(2, STROKES - 2)

  it('that drops every nth key', async () => {
    const dice = throwDice()
    const [text, every] = [dice.letters(STROKES), dice.between(3, 10)]
    const error = await typing({ kind: 'drop', at: every }, text)
    const lost = 2 * Math.floor(STROKES / every)
    expect(error).toMatchObject(DAMAGED)
    expect(deliveryOf(error)).toMatchObject({ sent: EVENTS, seen: EVENTS - lost, lost, duplicated: 0, reordered: 0 })
    expect(error.message).toContain(`sent KEY_${text[every - 1]?.toUpperCase()} press, saw nothing`)
  })

  it('that sees a key twice', async () => {
    const dice = throwDice()
    const error = await typing({ kind: 'double', at: anyStroke(dice) }, dice.letters(STROKES))
    expect(error).toMatchObject(DAMAGED)
    expect(deliveryOf(error)).toMatchObject({ lost: 0, duplicated: 2 })
  })

  it('that swaps two keys', async () => {
    const dice = throwDice()
    const error = await typing({ kind: 'swap', at: anyStroke(dice) }, dice.letters(STROKES))
    expect(error).toMatchObject(DAMAGED)
    expect(deliveryOf(error)).toMatchObject({ seen: EVENTS, lost: 0, duplicated: 0 })
    expect(deliveryOf(error).reordered).toBeGreaterThan(0)
  })

  it('in which somebody else types, too: counted, not named', async () => {
    const dice = throwDice()
    const error = await typing({ kind: 'foreign', at: anyStroke(dice), amount: KEY_F12 }, dice.letters(STROKES))
    expect(error).toMatchObject(DAMAGED)
    expect(deliveryOf(error)).toMatchObject({ lost: 0, duplicated: 2 })
    expect(error.message).toContain('saw an input that was not sent')
    expect(error.message).not.toContain('F12')
  })

  it.each(['dropped', 'die'] as const)('whose device says "%s" leaves a gap', async (kind) => {
    const dice = throwDice()
    expect(await typing({ kind, at: anyStroke(dice) }, dice.letters(STROKES))).toMatchObject(IMPOSSIBLE)
  })

  it('that reads garbage leaves a gap', async () => {
    const dice = throwDice()
    const damage: Damage = { kind: 'garbage', at: anyStroke(dice), amount: dice.between(1, 200) }
    expect(await typing(damage, dice.letters(STROKES))).toMatchObject(IMPOSSIBLE)
  })

  it('is green when nobody meddles', async () => {
    expect(await type(throwDice().letters(STROKES))).toMatchObject({ outcome: 'delivered', seen: EVENTS })
  })
})

describe('an agent', () => {
  it('that stands still in the middle', async () => {
    const dice = throwDice()
    await type('ab')
    const error = errorOf(type(dice.letters(SLOW.strokes), { delayMs: SLOW.delayMs }))
    error.catch(() => {})
    await sleep(dice.between(50, 500))
    await vm.guest.shell('killall -STOP node')
    try {
      expect(await error).toMatchObject(IMPOSSIBLE)
      expect((await error).message).toContain('agent')
    } finally {
      await vm.guest.shell('killall -CONT node')
    }
  })

  it.each([
    ['sends garbage', () => ['\u0000\u0001 no JSON'], 'it is no JSON'],
    ['sends another shape', () => ['{"v":1,"type":"seen","event_id":7}'], '"event_id" is no text'],
    ['reports input as a key logger does', () => ['{"message_type":"raw_input_event","key":"a"}'], 'no key logger'],
    ['says nothing of what it sees', () => [], /saw \d+ inputs .* told of \d+/],
    ['answers for another input', (line: string) => [line.replace(EVENT_ID, randomUUID())], /told of \d+/],
    ['tells of more than it was asked', (line: string) => [line.replace(/\[\d+,/, '[4000,')], 'not announced'],
    ['tells everything twice', (line: string) => [line, line], 'twice'],
    ['says that it looked away', (line: string) => [gapLike(line)], 'the session was locked'],
  ])('that %s', async (_, meddle: (line: string) => string[], reason) => {
    const dice = throwDice()
    await type('ab')
    let left = dice.between(1, 5)
    // The first of each expectation only says that the agent watches.
    vms.proxy.meddling.verifier = (line) => (SAW_SOMETHING.test(line) && --left <= 0 ? meddle(line) : [line])
    const error = await errorOf(type(dice.letters(STROKES)))
    expect(error).toMatchObject(IMPOSSIBLE)
    expect(error.message).toMatch(reason)
  })

  it('that answers for another VM', async () => {
    vms.proxy.meddling.verifier = (line) => [line.replace(vms.uuids[0] as string, randomUUID())]
    const error = await errorOf(type('ab'))
    expect(error).toMatchObject(IMPOSSIBLE)
  })

  it('that answers too late', async () => {
    const dice = throwDice()
    await type('ab')
    let left = dice.between(1, 5)
    vms.proxy.meddling.verifier = async (line) => {
      if (SAW_SOMETHING.test(line) && --left === 0) await sleep(8000)
      return [line]
    }
    const error = await errorOf(type(dice.letters(STROKES)))
    expect(error).toMatchObject(IMPOSSIBLE)
  })

  it('that dies in the middle', async () => {
    const dice = throwDice()
    await type('ab')
    const error = errorOf(type(dice.letters(SLOW.strokes), { delayMs: SLOW.delayMs }))
    error.catch(() => {})
    await sleep(dice.between(50, 500))
    await vm.guest.shell('killall -KILL node')
    expect(await error).toMatchObject(IMPOSSIBLE)
  })
})

function gapLike(line: string): string {
  const { event_id: id } = JSON.parse(line) as { event_id: string }
  return JSON.stringify({ v: 1, type: 'gap', event_id: id, reason: 'the session was locked' })
}
