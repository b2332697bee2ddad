import { expect, it } from 'vitest'
import { runImageJob } from '../../../../framework/protocols/spice/codec/image-job.ts'
import { SURFACE_FORMAT } from '../../../../framework/protocols/spice/display/messages.ts'
import {
  DisplayPicture,
  type ChannelStateEvent,
  type DisplayChannel,
} from '../../../../framework/protocols/spice/index.ts'
import { DISPLAY_SERVER, IMAGE_TYPE } from '../../../../framework/protocols/spice/wire/numbers.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'
import { recordedBytes } from '../quic/recordings.ts'
import { copy, descriptor, fill, surfaceCreate } from './display-messages.ts'

it('a picture of a channel that will not come back says why, to those who wait for it, too', async () => {
  const handlers = new Set<(event: ChannelStateEvent) => void>()
  const channel: Pick<DisplayChannel, 'place' | 'onMessage' | 'onStateChange'> & { state: string; error?: Error } = {
    place: 'vm-001, display channel',
    state: 'open',
    onMessage: undefined,
    onStateChange: (handler) => {
      handlers.add(handler)
      return () => handlers.delete(handler)
    },
  }
  const become = (to: 'lost' | 'failed', error: Error) => {
    const from = channel.state as ChannelStateEvent['from']
    Object.assign(channel, { state: to, error })
    for (const handler of handlers) handler({ from, to, error })
  }
  const picture = new DisplayPicture(channel as DisplayChannel)
  const waiting = picture.screenshot({ timeoutMs: 5000 })
  become('lost', new Error('lost'))
  // It may still come back.
  await new Promise((resolve) => setImmediate(resolve))
  become('failed', new Error('given up'))
  await expect(waiting).rejects.toThrow('given up')
  picture.close()
  expect(handlers.size).toBe(0)
})

it.each([0, 1, 2, 3, 4])(
  'a screenshot asked for %i draws before the screen goes is one of this or the next',
  async (draws) => {
    const channel: Pick<DisplayChannel, 'place' | 'state' | 'onMessage' | 'onStateChange' | 'hold'> = {
      place: 'vm-001, display channel',
      state: 'open',
      onMessage: undefined,
      onStateChange: () => () => true,
      hold: () => () => {},
    }
    const turn = Promise.withResolvers<void>()
    const decode = async (job: Parameters<typeof runImageJob>[0]) => {
      const result = runImageJob(job)
      await turn.promise
      return result
    }
    const picture = new DisplayPicture(channel as DisplayChannel, { decode })
    const say = (type: number, body: Uint8Array = new Uint8Array()) => channel.onMessage?.(type, body)
    const create = (width: number) =>
      say(DISPLAY_SERVER.surfaceCreate, surfaceCreate(0, width, 200, SURFACE_FORMAT.xrgb, true))
    const quic = recordedBytes('desktop-rgb32-320x200.quic')
    const image = descriptor(1n, IMAGE_TYPE.quic, 0, 320, 200).u32(quic.length).bytes(quic).finish()
    create(320)
    say(DISPLAY_SERVER.mark)
    const box = { x: 0, y: 0, width: 320, height: 200 }
    say(DISPLAY_SERVER.drawCopy, copy(box, image))
    const shot = picture.screenshot({ timeoutMs: 5000 })
    for (let count = 0; count < draws; count++) say(DISPLAY_SERVER.drawFill, fill(box, count))
    say(DISPLAY_SERVER.surfaceDestroy, new SpiceWriter().u32(0).finish())
    turn.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    create(400)
    say(DISPLAY_SERVER.mark)
    expect([320, 400]).toContain((await shot).width)
  },
)
