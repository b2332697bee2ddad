import { isAtpError, type AtpError } from '../../../core/errors.ts'
import type { SpiceChannel } from '../channel.ts'
import { CursorState } from './cursor.ts'
import { DisplayState } from './display-state.ts'

export interface LiveDisplayOptions {
  /**
   * Called with `ATP_SPICE_UNSUPPORTED` when the server sends what cannot be shown: the picture is not the server's
   * any more. The channel stays open, and the state has counted it.
   */
  onUnsupported(error: AtpError): void
}

/**
 * Makes the picture of what a display channel brings, over all its connections. Takes the channel's `onMessage`;
 * anything else that the protocol does not allow ends the channel.
 *
 * @param channel not open yet: the server sends the screen only once.
 */
export function showDisplay(channel: SpiceChannel, { onUnsupported }: LiveDisplayOptions): DisplayState {
  const state = new DisplayState()
  channel.onMessage = (type, body) => {
    try {
      state.handle(type, body)
    } catch (error) {
      if (!isAtpError(error, 'ATP_SPICE_UNSUPPORTED')) throw error
      onUnsupported(error)
    }
  }
  onNewConnection(channel, () => {
    state.reset()
    state.cache.clear()
    state.glz.clear()
  })
  return state
}

/**
 * Follows the pointer of a cursor channel, over all its connections. Takes the channel's `onMessage`.
 *
 * @param channel not open yet: the server sends the first shape only once.
 */
export function showCursor(channel: SpiceChannel): CursorState {
  const state = new CursorState()
  channel.onMessage = (type, body) => state.handle(type, body)
  onNewConnection(channel, () => state.reset())
  return state
}

// What a server remembers of its client ends with the connection.
function onNewConnection(channel: SpiceChannel, forget: () => void): void {
  channel.onStateChange(({ to }) => {
    if (to === 'connecting') forget()
  })
}
