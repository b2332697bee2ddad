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
