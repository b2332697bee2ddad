import { configure, reset } from '@logtape/logtape'
import { afterEach, describe, expect, it } from 'vitest'
import { isAtpError, Secret } from '../../../framework/core/index.ts'
import { KeyboardDevice } from '../../../framework/input/index.ts'
import { linuxConsole } from '../../../framework/keys/index.ts'
import { SimulatedGuest, type SimulatedGuestOptions } from './simulated-guest.ts'

let guest: SimulatedGuest
const keyboardOf = (options: SimulatedGuestOptions = {}) => {
  guest = new SimulatedGuest(options)
  return new KeyboardDevice(guest.host())
}
afterEach(() => guest.close())

const errorOf = async (work: Promise<unknown>) => {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (isAtpError(error)) return error
  throw new Error('no framework error was thrown', { cause: error })
}

describe('typing', () => {
  it('never has more in the device than it holds, and loses nothing in a guest that is slow', async () => {
    const keyboard = keyboardOf({ queue: 16, pollMs: 2, perPoll: 1 })
    const delivery = await keyboard.type('The quick brown fox: 1 + 1 = 2!\n', { verify: 'require' })
    expect(guest.overflowed).toBe(0)
    expect(delivery).toMatchObject({ outcome: 'delivered', sent: guest.received.length, lost: 0, reordered: 0 })
    expect(delivery.latenciesMs).toHaveLength(delivery.sent / 2)
    expect(guest.typed).toMatch(/^shift t h e spc q u i c k .* shift equal .* 2 shift 1 ret$/)
    expect(guest.deliveries).toEqual([delivery])
  })

  it('holds Shift only around the character that needs it', async () => {
    const keyboard = keyboardOf()
    await keyboard.type('aB')
    expect(guest.received.map((event) => (event.type === 'key' ? `${event.qcode} ${event.down}` : ''))).toEqual([
      'a true',
      'a false',
      'shift true',
      'b true',
      'b false',
      'shift false',
    ])
  })

  it('sends nothing at all when one character cannot be typed', async () => {
    const keyboard = keyboardOf()
    expect((await errorOf(keyboard.type('abc中'))).code).toBe('ATP_KEY_UNMAPPED')
    expect(guest.calls).toEqual([])
    const delivery = await keyboard.type('a中b', { onUnmapped: 'skip' })
    expect(delivery.input).toBe('a中b (1 characters skipped)')
    expect(guest.typed).toBe('a b')
  })

  it('asks the guest how to type what the layout cannot, only when it must and only when told to', async () => {
    guest = new SimulatedGuest()
    let asked = 0
    const route = async () => {
      asked++
      return linuxConsole
    }
    const keyboard = new KeyboardDevice({ ...guest.host(), unicodeRoute: route })
    await keyboard.type('abc', { unicode: 'guest' })
    expect(asked).toBe(0)
    const delivery = await keyboard.type('a中', { unicode: 'guest', verify: 'require' })
    expect(asked).toBe(1)
    expect(delivery).toMatchObject({ input: 'a中', sent: 14, outcome: 'delivered' })
    expect(guest.typed).toBe('a b c a alt kp_2 kp_0 kp_0 kp_1 kp_3')
    expect(guest.received.at(-1)).toEqual({ type: 'key', qcode: 'alt', down: false })
    await keyboard.down('alt')
    expect((await errorOf(keyboard.type('中', { unicode: 'guest' }))).code).toBe('ATP_KEY_HELD')
    expect((await errorOf(new KeyboardDevice(guest.host()).type('中', { unicode: 'guest' }))).code).toBe(
      'ATP_KEY_UNICODE',
    )
  })

  it('types at the pace asked for', async () => {
    const keyboard = keyboardOf()
    const delivery = await keyboard.type('abcd', { delayMs: 30 })
    expect(guest.calls).toHaveLength(4)
    expect(delivery).toMatchObject({ outcome: 'delivered' })
    expect(delivery.durationMs).toBeGreaterThanOrEqual(89)
    expect((await errorOf(keyboard.type('a', { delayMs: -1 }))).code).toBe('ATP_INPUT_DELAY')
  })

  it('does not tell a secret', async () => {
    const keyboard = keyboardOf({ fault: (_, index) => (index === 2 ? 'drop' : 'pass') })
    const error = await errorOf(keyboard.type(new Secret('pw', 'hunter2'), { verify: 'require' }))
    expect(error.code).toBe('ATP_INPUT_DAMAGED')
    expect(error.message).not.toMatch(/KEY_/)
    expect(error.context['delivery']).toMatchObject({
      input: '7 secret characters',
      lost: 1,
      differences: [],
      stuck: [],
    })
  })

  it('says why a secret is damaged, not which of its keys', async () => {
    const keyboard = keyboardOf({ repeats: 3 })
    const error = await errorOf(keyboard.type(new Secret('pw', 'x'), { verify: 'require' }))
    expect(error.message).toContain('its kernel repeated keys, 3 times in all')
    expect(error.message).not.toMatch(/KEY_/)
  })

  it('does not tell the log which key of a secret may be stuck', async () => {
    const said: string[] = []
    await configure({
      reset: true,
      sinks: { said: ({ message }) => void said.push(message.join('')) },
      loggers: [{ category: [], sinks: ['said'] }],
    })
    try {
      const keyboard = keyboardOf()
      guest.broken = new Error('the VM is gone')
      await expect(keyboard.type(new Secret('pw', 'q'))).rejects.toThrow('the VM is gone')
      expect(said.join('\n')).toContain('keys of a secret may be stuck')
    } finally {
      await reset()
    }
  })
})

describe('verification', () => {
  const dropKey = (qcode: string): SimulatedGuestOptions => ({
    fault: (event) => (event.type === 'key' && event.qcode === qcode ? 'drop' : 'pass'),
  })

  it('turns red under require when the guest drops one key, and says which', async () => {
    const keyboard = keyboardOf(dropKey('x'))
    const error = await errorOf(keyboard.type('boxes', { verify: 'require' }))
    expect(error).toMatchObject({ code: 'ATP_INPUT_DAMAGED', verdict: 'product', branch: 'assertion' })
    expect(error.message).toContain(
      'vm-007: keyboard.type arrived damaged (qmp, ps2): sent 10 events, the guest saw 8: 2 lost',
    )
    expect(error.message).toContain('sent KEY_X press, saw nothing (event 5 of 10)')
    expect(error.context['delivery']).toMatchObject({ outcome: 'damaged', lost: 2 })
    expect(guest.deliveries).toHaveLength(1)
  })

  it('reports the same under observe without failing', async () => {
    const keyboard = keyboardOf(dropKey('x'))
    expect(await keyboard.type('boxes')).toMatchObject({
      verify: 'observe',
      outcome: 'damaged',
      sent: 10,
      seen: 8,
      lost: 2,
    })
  })

  it('sees keys that arrive twice or stay down', async () => {
    const doubled = keyboardOf({ fault: (_, index) => (index === 1 ? 'double' : 'pass') })
    expect(await doubled.type('ab')).toMatchObject({ outcome: 'damaged', duplicated: 1, seen: 5 })
    guest.close()
    const sticky = keyboardOf({ fault: (event) => ('down' in event && !event.down ? 'drop' : 'pass') })
    expect(await sticky.press('ctrl+c')).toMatchObject({ outcome: 'damaged', stuck: ['KEY_LEFTCTRL', 'KEY_C'] })
  })

  it('is impossible without an observer: unverified with the reason, or an infrastructure error', async () => {
    const keyboard = keyboardOf({ unobservable: 'no virtio-serial port' })
    expect(await keyboard.type('ab')).toMatchObject({
      outcome: 'unverified',
      reason: 'no virtio-serial port',
      sent: 4,
      seen: 0,
    })
    const error = await errorOf(keyboard.type('ab', { verify: 'require' }))
    expect(error).toMatchObject({ code: 'ATP_VERIFY_IMPOSSIBLE', verdict: 'infrastructure' })
    // Unobserved typing does not wait for the guest to look.
    await expect.poll(() => guest.received.length).toBe(4)
  })

  it('is impossible, not failed, when the observation has a gap', async () => {
    const keyboard = keyboardOf({ pollMs: 5 })
    const typing = errorOf(keyboard.type('abcdefgh', { verify: 'require' }))
    setTimeout(() => guest.gap('SYN_DROPPED'), 10)
    expect(await typing).toMatchObject({ code: 'ATP_VERIFY_IMPOSSIBLE', verdict: 'infrastructure' })
    expect(guest.deliveries[0]).toMatchObject({ outcome: 'unverified', reason: 'SYN_DROPPED', lost: 0 })
  })

  it('does not blame the guest for a dead observer', async () => {
    const keyboard = keyboardOf(dropKey('x'))
    guest.observerFault = 'the reader has ended'
    expect(await keyboard.type('x')).toMatchObject({ outcome: 'unverified', reason: 'the reader has ended', lost: 0 })
    expect(await keyboard.type('y', { verify: 'require' })).toMatchObject({ outcome: 'delivered' })
    expect((await errorOf(keyboard.type('x', { verify: 'require' }))).code).toBe('ATP_VERIFY_IMPOSSIBLE')
  })

  it('does not take what an unobserved action left in the device for new input', async () => {
    const keyboard = keyboardOf({ pollMs: 20, perPoll: 1 })
    await keyboard.type('abc', { verify: 'off', delayMs: 0 })
    expect(await keyboard.type('de', { verify: 'require' })).toMatchObject({ outcome: 'delivered', sent: 4, seen: 4 })
  })

  it('gives up on a guest that takes nothing instead of filling its queue', async () => {
    const keyboard = keyboardOf()
    guest.frozen = true
    const error = await errorOf(keyboard.type('a long text that goes nowhere', { verify: 'require' }))
    expect(error.code).toBe('ATP_INPUT_DAMAGED')
    expect(error.message).toContain('stopped after 4 of 29 strokes')
    expect(guest.overflowed).toBe(0)
  })
})

describe('chords', () => {
  it('go down in order and up in reverse, in one call', async () => {
    const keyboard = keyboardOf()
    await keyboard.press('ctrl+alt+del', { verify: 'require' })
    expect(guest.calls).toEqual([
      [
        { type: 'key', qcode: 'ctrl', down: true },
        { type: 'key', qcode: 'alt', down: true },
        { type: 'key', qcode: 'delete', down: true },
        { type: 'key', qcode: 'delete', down: false },
        { type: 'key', qcode: 'alt', down: false },
        { type: 'key', qcode: 'ctrl', down: false },
      ],
    ])
  })

  it('count what the guest repeats while they are held, which is no damage', async () => {
    const keyboard = keyboardOf({ repeats: 3 })
    expect(await keyboard.press('a', { holdMs: 30, verify: 'require' })).toMatchObject({
      outcome: 'delivered',
      sent: 2,
      seen: 2,
      repeats: 3,
    })
    guest.close()
    expect(await keyboardOf().press('a', { verify: 'require' })).not.toHaveProperty('repeats')
  })

  it('are damaged when the guest repeats what nobody holds', async () => {
    const keyboard = keyboardOf({ repeats: 1 })
    const difference = 'the guest was so slow that its kernel repeated KEY_A, KEY_B, 2 times in all'
    expect(await keyboard.type('aB')).toMatchObject({ outcome: 'damaged', differences: [difference], repeats: 3 })
    expect(await keyboard.down('c', { verify: 'require' })).toMatchObject({ outcome: 'delivered', repeats: 1 })
    expect(await keyboard.up('c', { verify: 'require' })).toMatchObject({ outcome: 'delivered' })
  })

  it('have their keys where the layout of the guest has them', async () => {
    const keyboard = keyboardOf()
    await keyboard.press('ctrl+z', { layout: 'de', verify: 'require' })
    expect(guest.typed).toBe('ctrl y')
  })

  it('can be held', async () => {
    const keyboard = keyboardOf()
    const delivery = await keyboard.press('a', { holdMs: 40 })
    expect(guest.calls).toHaveLength(2)
    expect(delivery.durationMs).toBeGreaterThanOrEqual(39)
  })

  it('are released when the wait is cut short', async () => {
    const keyboard = keyboardOf()
    const controller = new AbortController()
    const pressing = errorOf(keyboard.press('ctrl+a', { holdMs: 60_000, signal: controller.signal }))
    setTimeout(() => controller.abort(), 20)
    expect((await pressing).code).toBe('ATP_INTERRUPTED')
    expect(guest.calls.at(-1)).toEqual([
      { type: 'key', qcode: 'a', down: false },
      { type: 'key', qcode: 'ctrl', down: false },
    ])
  })

  it('are released before a timeout is reported', async () => {
    const keyboard = keyboardOf()
    const error = await errorOf(keyboard.press('shift+f5', { holdMs: 60_000, timeoutMs: 30 }))
    expect(error).toMatchObject({ code: 'ATP_TIMEOUT', context: { timeoutMs: 30 } })
    expect(guest.calls).toHaveLength(2)
  })

  it('report the first failure when nothing can be released either', async () => {
    const keyboard = keyboardOf()
    guest.broken = new Error('monitor gone')
    await expect(keyboard.press('a')).rejects.toThrow('monitor gone')
    expect(guest.calls).toHaveLength(2)
  })

  it('know the keys a device does not have', async () => {
    const keyboard = keyboardOf({ device: 'ps2' })
    expect((await errorOf(keyboard.press('undo'))).code).toBe('ATP_KEY_DEVICE')
    expect(guest.calls).toEqual([])
    guest.close()
    expect(await keyboardOf({ device: 'virtio' }).press('undo')).toMatchObject({ outcome: 'delivered' })
  })
})

describe('held keys', () => {
  it('stay down over other actions without counting as stuck, and are not pressed twice', async () => {
    const keyboard = keyboardOf()
    expect(await keyboard.down('shift')).toMatchObject({ outcome: 'delivered', sent: 1 })
    expect(await keyboard.type('A', { verify: 'require' })).toMatchObject({ sent: 2, stuck: [] })
    expect((await errorOf(keyboard.down('shift'))).code).toBe('ATP_KEY_HELD')
    expect(await keyboard.up('shift')).toMatchObject({ outcome: 'delivered' })
    expect((await errorOf(keyboard.up('shift'))).code).toBe('ATP_KEY_NOT_HELD')
  })

  it('can all be released at once', async () => {
    const keyboard = keyboardOf()
    await keyboard.down('ctrl')
    await keyboard.down('alt')
    await keyboard.releaseAll()
    expect(guest.calls.slice(-2).flat()).toEqual([
      { type: 'key', qcode: 'alt', down: false },
      { type: 'key', qcode: 'ctrl', down: false },
    ])
    await keyboard.down('ctrl')
  })
})

it('carries out concurrent actions one after the other', async () => {
  const keyboard = keyboardOf()
  const deliveries = await Promise.all([keyboard.type('aaaa'), keyboard.type('bbbb'), keyboard.press('ret')])
  expect(deliveries.map((delivery) => delivery.outcome)).toEqual(['delivered', 'delivered', 'delivered'])
  expect(guest.typed).toBe('a a a a b b b b ret')
})

it('lets an action that waits for its turn be called off at once', async () => {
  const keyboard = keyboardOf()
  const long = keyboard.press('a', { holdMs: 150 })
  const startedMs = performance.now()
  expect((await errorOf(keyboard.type('never', { timeoutMs: 20 }))).code).toBe('ATP_TIMEOUT')
  expect(performance.now() - startedMs).toBeLessThan(120)
  await long
  expect(guest.typed).toBe('a')
})
