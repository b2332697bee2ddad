import { PassThrough } from 'node:stream'
import { expect, it } from 'vitest'
import { NodeStream } from '../../../framework/transport/node-stream.ts'

it('tells its end once, also to who pauses and resumes from within the delivery of the last bytes', () => {
  const input = { pause() {}, resume() {} }
  const stream = new NodeStream('test', { input, output: new PassThrough(), destroy() {} })
  // As a socket does that breaks while it is paused.
  for (const text of ['one', 'two']) stream.receive(Buffer.from(text))
  stream.ended()
  const told: string[] = []
  stream.start({
    onData: (chunk) => {
      told.push(Buffer.from(chunk).toString())
      stream.pause()
      stream.resume()
    },
    onClose: () => told.push('end'),
  })
  expect(told).toEqual(['one', 'two', 'end'])
})

it.each([true, false])(
  'keeps lent chunks for who does not borrow them, and while it is paused (borrows: %s)',
  (borrows) => {
    const stream = new NodeStream('test', {
      input: { pause() {}, resume() {} },
      output: new PassThrough(),
      destroy() {},
    })
    const buffer = new Uint8Array(1)
    const lend = (byte: number) => {
      buffer[0] = byte
      stream.receive(buffer, true)
    }
    const chunks: Uint8Array[] = []
    lend(1)
    stream.start({ borrows, onData: (chunk) => chunks.push(chunk), onClose: () => {} })
    stream.pause()
    lend(2)
    stream.resume()
    lend(3)
    buffer[0] = 9
    expect(chunks.map(([byte]) => byte)).toEqual([1, 2, borrows ? 9 : 3])
  },
)
