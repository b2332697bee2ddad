import fc from 'fast-check'
import { expect, it } from 'vitest'
import { isAtpError } from '../../../../framework/core/index.ts'
import { DataChannel } from '../../../../framework/protocols/spice/channels/data.ts'
import { SmartCardReader, SpiceVmConnection } from '../../../../framework/protocols/spice/index.ts'
import { decodeVsc, encodeVsc, VSC } from '../../../../framework/protocols/spice/smartcard/vsc-messages.ts'

const MUTATIONS = Number(process.env['ATP_MUTATIONS'] ?? 500)
/** Each of them takes some turns of the event loop. */
const LIMIT_MS = 30_000 + MUTATIONS * 10
const DATA = 101

const session = new SpiceVmConnection('vm', {
  server: { name: 'nowhere', open: () => Promise.reject(new Error('nowhere')) },
})

/** A smart-card channel whose server agrees to all that it is asked. */
class AgreeingChannel extends DataChannel {
  readonly sent: number[] = []

  constructor() {
    super(session, 'smartcard')
  }

  override async sendData(bytes: Uint8Array): Promise<void> {
    const { type } = decodeVsc(bytes, 'test')
    this.sent.push(type)
    const asks = [VSC.readerAdd, VSC.readerRemove, VSC.atr, VSC.cardRemove] as number[]
    if (asks.includes(type)) this.hear(encodeVsc({ type: VSC.error, readerId: 0, body: new Uint8Array(4) }))
  }

  hear(bytes: Uint8Array): void {
    this.handle(DATA, bytes)
  }
}

const u32 = fc.oneof(fc.nat(12), fc.constantFrom(0xffff_ffff, 0x8000_0000, 0x7fff_ffff), fc.nat())

/** Messages of a server: types that exist more often than others, lengths that lie, and cuts. */
const message = fc
  .record({
    type: fc.oneof(
      { weight: 6, arbitrary: fc.constantFrom(...Object.values(VSC)) },
      { weight: 1, arbitrary: fc.nat(20) },
    ),
    readerId: u32,
    body: fc.uint8Array({ maxLength: 40 }),
    lie: fc.option(u32, { freq: 6 }),
    cut: fc.option(fc.nat(52), { freq: 6 }),
  })
  .map(({ type, readerId, body, lie, cut }) => {
    const bytes = encodeVsc({ type, readerId, body })
    if (lie !== null) new DataView(bytes.buffer, bytes.byteOffset).setUint32(8, lie, true)
    return cut === null ? bytes : bytes.subarray(0, cut)
  })

it(
  'whatever a server says to a reader, it is understood or refused by name, and each command has its answer',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 8 }), async (messages) => {
        const channel = new AgreeingChannel()
        const connection = { openChannel: async () => channel, closeChannel: async () => {} }
        const reader = new SmartCardReader(connection as never)
        await reader.insert({ atr: Uint8Array.of(0x3b, 0), respond: (command) => command })
        try {
          for (const bytes of messages) channel.hear(bytes)
        } catch (error) {
          expect(isAtpError(error, 'ATP_SPICE_PROTOCOL')).toBe(true)
        }
        await new Promise((resolve) => setImmediate(resolve))
        expect(channel.sent.filter((type) => type === VSC.apdu)).toHaveLength(reader.commands)
        expect(reader.failure === undefined || isAtpError(reader.failure, 'ATP_SPICE_CARD_RESPONSE')).toBe(true)
        await reader.detach()
        expect(reader.attached).toBe(false)
      }),
      { numRuns: MUTATIONS },
    )
  },
  LIMIT_MS,
)
