import { expect, it } from 'vitest'
import {
  DisplayPicture,
  type ChannelStateEvent,
  type DisplayChannel,
} from '../../../../framework/protocols/spice/index.ts'

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
