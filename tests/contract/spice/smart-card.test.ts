import { afterAll, beforeAll, expect, it, onTestFinished } from 'vitest'
import { SmartCardReader, SpiceVmConnection, type SmartCard } from '../../../framework/protocols/spice/index.ts'
import { ALL_DEVICES, ConsoleServer } from '../../support/spice-server/console-server.ts'

// A card with five historical bytes, as QEMU checks it.
const ATR = Uint8Array.of(0x3b, 0x95, 0x13, 0x81, 0x01, 0x80, 0xff, 0xff, 0xff)
const card = (atr = ATR): SmartCard => ({ atr, respond: () => Uint8Array.of(0x90, 0x00) })

let server: ConsoleServer

beforeAll(async () => {
  server = await ConsoleServer.start({ qemuArguments: ALL_DEVICES })
})
afterAll(() => server?.[Symbol.asyncDispose]())

async function reader() {
  const connection = new SpiceVmConnection('vm', { server: server.server() })
  onTestFinished(() => connection.disconnectAll())
  await connection.connectMainChannel()
  return { connection, reader: new SmartCardReader(connection) }
}

it('QEMU takes a reader and a card, and lets go of them', async () => {
  const { connection, reader: smartCards } = await reader()
  await smartCards.attach()
  expect([smartCards.attached, smartCards.card]).toEqual([true, undefined])
  const [first, second] = [card(), card()]
  await smartCards.insert(first)
  await smartCards.insert(second)
  expect(smartCards.card).toBe(second)
  await smartCards.eject()
  expect(smartCards.card).toBeUndefined()
  await smartCards.insert(first)
  await smartCards.detach()
  expect([smartCards.attached, smartCards.card]).toEqual([false, undefined])
  expect(connection.getChannel('smartcard')).toBeUndefined()
  await smartCards.insert(second)
  expect([smartCards.attached, smartCards.commands, smartCards.failure]).toEqual([true, 0, undefined])
})

it('no card with an answer to reset that cannot be', async () => {
  const { reader: smartCards } = await reader()
  for (const length of [0, 1, 34]) {
    await expect(smartCards.insert(card(new Uint8Array(length)))).rejects.toMatchObject({ code: 'ATP_SPICE_CARD_ATR' })
  }
})

it('QEMU itself answers: it refuses a card whose answer to reset is shorter than it says, and the next one is fine', async () => {
  const { reader: smartCards } = await reader()
  const lying = card(Uint8Array.of(0x3b, 0x95))
  await expect(smartCards.insert(lying)).rejects.toMatchObject({ code: 'ATP_SPICE_CARD_REFUSED' })
  expect([smartCards.attached, smartCards.card]).toEqual([true, undefined])
  await smartCards.insert(card())
  expect(smartCards.card).toBeDefined()
})

it('reader and card come back with the channel', async () => {
  const { connection, reader: smartCards } = await reader()
  await smartCards.insert(card())
  const channel = connection.getChannel('smartcard')
  let asked = 0
  const send = channel!.sendData.bind(channel)
  channel!.sendData = async (bytes) => {
    asked++
    await send(bytes)
  }
  channel!.lose(new Error('cut by the test'))
  // Init, reader, card.
  await expect.poll(() => asked, { timeout: 10_000 }).toBe(3)
  await expect.poll(() => smartCards.card !== undefined, { timeout: 10_000 }).toBe(true)
  expect([smartCards.attached, smartCards.failure]).toEqual([true, undefined])
})
