import type { SpiceChannel } from '../channel.ts'
import { CursorState } from './cursor.ts'

/**
 * Follows the pointer of a cursor channel, over all its connections. Takes the channel's `onMessage`.
 *
 * @param channel not open yet: the server sends the first shape only once.
 */
export function showCursor(channel: SpiceChannel): CursorState {
  const state = new CursorState()
  channel.onMessage = (type, body) => state.handle(type, body)
  // What a server remembers of its client ends with the connection.
  channel.onStateChange(({ to }) => {
    if (to === 'connecting') state.reset()
  })
  return state
}
