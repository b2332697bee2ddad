import { readFileSync } from 'node:fs'
import { Ajv2020 } from 'ajv/dist/2020.js'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/index.ts'
import {
  encodeMessage,
  lengthFraming,
  lineFraming,
  MESSAGE_MAX_BYTES,
  OPENING,
  parseEvent,
  parseFirstFrame,
  parseFromAgent,
  parseFromServer,
  type FrameDecoder,
} from '../../../guest/protocol/index.ts'
import { agentMessage, serverMessage } from './messages.ts'

const schema = JSON.parse(
  readFileSync(new URL('../../../schemas/verifier-message.json', import.meta.url), 'utf8'),
) as object
const ajv = new Ajv2020({ strict: true, allowUnionTypes: true, strictTuples: false })
ajv.addSchema(schema, 'verifier')
const fromAgent = ajv.compile({ $ref: 'verifier#/$defs/fromAgent' })
const fromServer = ajv.compile({ $ref: 'verifier#/$defs/fromServer' })

const id = () => 'assigned'
/** What a parser found, as it would be sent again; the code of its error; undefined for other kinds of frame. */
function outcome(parse: () => object): unknown {
  try {
    const parsed = parse()
    return 'message' in parsed ? parsed.message : undefined
  } catch (error) {
    if (isAtpError(error)) return error.code
    throw error
  }
}

describe('messages', () => {
  it('of an agent pass the schema and come back from the parser as they were', () => {
    fc.assert(
      fc.property(agentMessage, (message) => {
        expect(fromAgent(message), JSON.stringify(fromAgent.errors)).toBe(true)
        expect(outcome(() => parseFromAgent(encodeMessage(message)))).toEqual(message)
      }),
    )
  })

  it('of a server pass the schema and come back from the parser as they were', () => {
    fc.assert(
      fc.property(serverMessage, (message) => {
        expect(fromServer(message), JSON.stringify(fromServer.errors)).toBe(true)
        expect(outcome(() => parseFromServer(encodeMessage(message), id))).toEqual(message)
      }),
    )
  })

  const damage = fc.oneof(fc.jsonValue(), fc.integer(), fc.constant(undefined), fc.string({ maxLength: 300 }))
  const member = fc.constantFrom(
    'type',
    'event_id',
    'seen',
    'add',
    'metadata',
    'nonce',
    'guest_ns',
    'details',
    'agent',
    'last',
  )
  it.each([
    ['an agent', agentMessage, fromAgent, (text: string) => parseFromAgent(text)],
    ['a server', serverMessage, fromServer, (text: string) => parseFromServer(text, id)],
  ] as const)(
    'of %s that were damaged: what the schema takes the parser takes, what the parser makes the schema takes',
    (_, arbitrary, valid, parse) => {
      fc.assert(
        fc.property(arbitrary as fc.Arbitrary<object>, member, damage, (message, name, value) => {
          const damaged = JSON.parse(JSON.stringify({ ...message, [name]: value })) as object
          const made = outcome(() => parse(JSON.stringify(damaged)))
          if (valid(damaged)) expect(made).toBeTypeOf('object')
          if (typeof made === 'object') expect(valid(made), JSON.stringify(made)).toBe(true)
          else expect([undefined, 'ATP_VERIFIER_MESSAGE']).toContain(made)
        }),
      )
    },
  )

  it('that are no JSON, no object or of another version are malformed, and their text is not repeated', () => {
    for (const text of [
      '',
      'secret',
      '[]',
      'null',
      '"secret"',
      '{"v":2,"type":"ping","nonce":1}',
      '{"type":"secret"}',
    ]) {
      const error = (() => {
        try {
          return parseFromAgent(text)
        } catch (thrown) {
          return thrown
        }
      })()
      expect(isAtpError(error, 'ATP_VERIFIER_MESSAGE'), text).toBe(true)
      expect(String(error)).not.toContain('secret')
    }
  })

  it('larger than 1 MiB are not encoded', () => {
    const message = { v: 1, type: 'gap', reason: '键'.repeat(MESSAGE_MAX_BYTES / 3) } as const
    expect(() => encodeMessage(message)).toThrow(expect.objectContaining({ code: 'ATP_VERIFIER_TOO_LARGE' }))
  })
})

describe('earlier generations', () => {
  it('the envelope with event_type and data is an event', () => {
    const text =
      '{"event_type":"keyboard","timestamp":1733900000000,"data":{"event_id":"e1","key":"a","timeout_ms":700}}'
    expect(outcome(() => parseFromServer(text, id))).toEqual({
      v: 1,
      event_id: 'e1',
      type: 'keyboard',
      action: 'keydown',
      key: 'a',
      timestamp: 1733900000000,
      metadata: { timeout_ms: 700 },
    })
  })

  it("a command's expectations are in its metadata, wherever they stood", () => {
    const inner = { command: 'ls', args: ['-l'], expected_exit_code: 0, expected_stdout_contains: 'x' }
    const wanted = expect.objectContaining({ action: 'run', metadata: { ...inner, timeout_ms: 5000 } }) as unknown
    expect(parseEvent({ event_type: 'command', timestamp: 1, data: inner }, id)).toEqual(wanted)
    expect(parseEvent({ type: 'command', timestamp: 1, ...inner }, id)).toEqual(wanted)
    expect(parseEvent({ type: 'command', timestamp: 1, metadata: inner }, id)).toEqual(wanted)
  })

  it('what no event has of itself is in its metadata, for every verifier', () => {
    const place = { x: 3, y: 4, screen_width: 1024, screen_height: 768 }
    expect(parseEvent({ type: 'mouse', action: 'move', ...place }, id).metadata).toEqual({ ...place, timeout_ms: 5000 })
    expect(parseEvent({ type: 'file', path: '/a' }, id).metadata).toEqual({ path: '/a', timeout_ms: 5000 })
  })

  it('an event without an id gets one', () => {
    expect(parseEvent({ type: 'mouse', action: 'click', x: 3, y: 4, button: 'left' }, id)).toEqual({
      v: 1,
      event_id: 'assigned',
      type: 'mouse',
      action: 'click',
      timestamp: 0,
      metadata: { x: 3, y: 4, button: 'left', timeout_ms: 5000 },
    })
  })

  it('a VM id is one line, also in a hello', () => {
    const agent = { version: '1', platform: 'linux' }
    const hello = { type: 'hello', session: 's', verifiers: [], agent, level: 'kernel', reads_clock: true }
    expect(() => parseFromAgent(JSON.stringify({ ...hello, vm_id: 'vm\n[error] all is lost' }))).toThrow('vm_id')
  })

  it('results with message_type and without a version are results', () => {
    const text =
      '{"message_type":"verify_result","event_id":"e","verified":true,"timestamp":12,"latency_ms":3,"details":{}}'
    const wanted = { v: 1, event_id: 'e', verified: true, timestamp: 12, latency_ms: 3, details: {} }
    expect(parseFromAgent(text)).toEqual({ kind: 'result', message: wanted })
    expect(parseFromAgent(text.replace('"message_type":"verify_result",', ''))).toEqual({
      kind: 'result',
      message: wanted,
    })
  })

  it('input they would stream is recognised unread', () => {
    const text = '{"message_type":"raw_input_event","event_type":"keyboard","code":30,"value":1,"name":"KEY_A"}'
    expect(parseFromAgent(text)).toEqual({ kind: 'legacy-input' })
  })

  it('a bare first frame is the VM id, unless it could not be one', () => {
    expect(parseFirstFrame('vm-7\n')).toEqual({ kind: 'vm-id', vmId: 'vm-7' })
    for (const text of ['', ' ', 'a\u0007b', 'x'.repeat(257)]) expect(() => parseFirstFrame(text), text).toThrow()
  })
})

describe('framing', () => {
  const pushAll = (decoder: FrameDecoder, bytes: Uint8Array, cuts: readonly number[]) => {
    const texts: string[] = []
    const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].toSorted((a, b) => a - b)
    let start = 0
    for (const end of [...ends, bytes.length]) {
      texts.push(...decoder.push(bytes.subarray(start, end)))
      start = end
    }
    return texts
  }
  const framings = [
    ['a length', lengthFraming, new Uint8Array()],
    ['lines', lineFraming, OPENING],
  ] as const

  it.each(framings)('by %s gives back every message, wherever the stream is cut', (_, framing, opening) => {
    fc.assert(
      fc.property(fc.array(serverMessage, { maxLength: 6 }), fc.array(fc.nat(4000)), (messages, cuts) => {
        const bytes = Buffer.concat([opening, ...messages.map((message) => framing.encode(message))])
        expect(pushAll(framing.decoder(), bytes, cuts)).toEqual(messages.map((message) => JSON.stringify(message)))
      }),
    )
  })

  it('by lines throws away what stands before the first line end', () => {
    const decoder = lineFraming.decoder()
    expect(decoder.push(Buffer.from('rest of an old mess'))).toEqual([])
    expect(decoder.push(Buffer.from('age"}\n{"a":1}\n\n{"b"'))).toEqual(['{"a":1}'])
    expect(decoder.push(Buffer.from(':2}\r\n'))).toEqual(['{"b":2}'])
  })

  it('an announced or unfinished message that is too large ends the stream', () => {
    const tooLarge = expect.objectContaining({ code: 'ATP_VERIFIER_TOO_LARGE' }) as Error
    expect(() => lengthFraming.decoder().push(Uint8Array.of(0, 16, 0, 1))).toThrow(tooLarge)
    const lines = lineFraming.decoder()
    lines.push(OPENING)
    lines.push(new Uint8Array(MESSAGE_MAX_BYTES).fill(32))
    expect(() => lines.push(new Uint8Array(1))).toThrow(tooLarge)
  })

  it('an empty message and broken UTF-8 are malformed', () => {
    const malformed = expect.objectContaining({ code: 'ATP_VERIFIER_MESSAGE' }) as Error
    expect(() => lengthFraming.decoder().push(Uint8Array.of(0, 0, 0, 0))).toThrow(malformed)
    expect(() => lengthFraming.decoder().push(Uint8Array.of(0, 0, 0, 1, 0xff))).toThrow(malformed)
  })
})
