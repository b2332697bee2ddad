import type { CallOptions } from '../../core/deadline.ts'
import type { DisplayChannel } from './channels/display.ts'
import type { DisplayPicture } from './display-picture.ts'

/** What a display did in a while. */
export interface DisplayFigures {
  /** Number of the display. */
  display: number
  /** Size of the picture at the end, pixels; 0 while there is none. */
  width: number
  height: number
  /** How long it was measured, milliseconds. */
  durationMs: number
  /** Batches of changes: what comes within 8 ms of the first change belongs together. */
  frames: number
  framesPerS: number
  /** Bytes of the channel as they came over the wire, headers included. */
  bytes: number
  bytesPerS: number
  /** Messages of the server of all types. */
  messages: number
  messagesPerS: number
  /** Draw operations by name, images by compression, frames of video streams by codec. What did not come is not there. */
  draws: Record<string, number>
  images: Record<string, number>
  videoFrames: Record<string, number>
}

export interface MeasureOptions extends Pick<CallOptions, 'signal'> {
  /** How long to measure, milliseconds. */
  forMs: number
}

/** A guest that draws 60 times a second makes a batch every 16 ms, which takes less than half of that to arrive. */
const FRAME_MS = 8
const PIXEL = { left: 0, top: 0, right: 1, bottom: 1 }

/**
 * Counts what a display does from when its picture is complete.
 *
 * @throws what {@link DisplayPicture.screenshot} and {@link DisplayPicture.changed} throw.
 */
export async function measureDisplay(
  channel: DisplayChannel,
  picture: DisplayPicture,
  { forMs, signal }: MeasureOptions,
): Promise<DisplayFigures> {
  // What a server sends to begin with is no change.
  await picture.screenshot({ ...(signal && { signal }), part: PIXEL })
  const look = () => ({ atMs: performance.now(), ...channel.statistics, ...picture.counters })
  const before = look()
  const frames = await countFrames(picture, forMs, signal)
  const after = look()
  const durationMs = after.atMs - before.atMs
  const perS = (count: number) => (count * 1000) / durationMs
  const bytes = after.bytesIn - before.bytesIn
  const messages = after.messagesIn - before.messagesIn
  return {
    display: channel.id,
    ...(picture.size ?? { width: 0, height: 0 }),
    durationMs,
    frames,
    framesPerS: perS(frames),
    bytes,
    bytesPerS: perS(bytes),
    messages,
    messagesPerS: perS(messages),
    draws: grown(before.draws, after.draws),
    images: grown(before.images, after.images),
    videoFrames: grown(before.frames, after.frames),
  }
}

async function countFrames(picture: DisplayPicture, forMs: number, signal: AbortSignal | undefined): Promise<number> {
  const over = new AbortController()
  const timer = setTimeout(() => over.abort(), forMs)
  const bound = signal ? AbortSignal.any([signal, over.signal]) : over.signal
  let frames = 0
  let frameMs = -Infinity
  try {
    for (;;) {
      await picture.changed({ signal: bound })
      const nowMs = performance.now()
      if (nowMs - frameMs < FRAME_MS) continue
      frames++
      frameMs = nowMs
    }
  } catch (error) {
    if (signal?.aborted || !over.signal.aborted) throw error
    return frames
  } finally {
    clearTimeout(timer)
  }
}

function grown(before: Record<string, number>, after: Record<string, number>): Record<string, number> {
  const differences = Object.entries(after).map(([name, count]) => [name, count - (before[name] ?? 0)] as const)
  return Object.fromEntries(differences.filter(([, count]) => count > 0))
}
