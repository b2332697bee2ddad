import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Writable } from 'node:stream'
import { configError, remoteError, sleep, unsupportedError, type AtpError } from '../core/index.ts'
import type { DisplayPicture } from '../protocols/spice/index.ts'
import type { Picture } from '../screen/index.ts'

/** A folder, which something else hands out over HTTP; or an RTSP server that takes streams. */
export type StreamTarget = { hls: string } | { rtsp: string }

export interface ScreenStreamOptions {
  to: StreamTarget
  /** Pictures a second, 1 to 60. Default 10. */
  framesPerS?: number | undefined
  /** How long to stream, milliseconds. Default: until `stop` aborts. */
  forMs?: number | undefined
  /** Ends the stream, which is complete then. */
  stop?: AbortSignal | undefined
}

/** What was streamed. */
export interface ScreenStreamFigures {
  /** Size in pixels. */
  width: number
  height: number
  /** Pictures handed over, those that show nothing new included. */
  frames: number
  durationMs: number
}

const PROGRAM = 'ffmpeg'
const SEGMENT_S = 2
const SEGMENTS_KEPT = 10
const COMPLAINT_MAX = 4096
/** How long ffmpeg may take to write down what it has. */
const END_MS = 15_000

/**
 * Streams what a display shows as H.264, through the system's ffmpeg: to the playlist `index.m3u8` of a folder, which
 * keeps the last 20 seconds, or to an RTSP server. The size is that of the screen at the beginning, even; of a screen
 * that is larger later on the upper left part is shown. While there is no picture the last one stays.
 *
 * @throws `ATP_SPICE_STREAM_PROGRAM` without ffmpeg, `ATP_SPICE_STREAM_TARGET`, `ATP_SPICE_STREAM_RATE`,
 *   `ATP_SPICE_STREAM_FAILED` with what ffmpeg said last, what {@link DisplayPicture.screenshot} throws. No ffmpeg is
 *   left.
 */
export async function streamScreen(
  picture: DisplayPicture,
  { to, framesPerS = 10, forMs = Infinity, stop }: ScreenStreamOptions,
): Promise<ScreenStreamFigures> {
  if (!(framesPerS >= 1 && framesPerS <= 60) || !(forMs > 0)) throw rateError(framesPerS, forMs)
  const output = await outputOf(to)
  const frame = new StreamFrame(await picture.screenshot())
  const child = await start(frame, framesPerS, output)
  const ended = endOf(child)
  const over = new AbortController()
  const signal = stop ? AbortSignal.any([stop, over.signal]) : over.signal
  // An ffmpeg that ends before its input does has failed, whatever it says.
  const died = ended.then((error) => Promise.reject(error ?? failedError('it ended by itself')))
  const watched = watch(picture, frame, signal)
  const fed = feed(child.stdin as Writable, picture, frame, { framesPerS, forMs, signal })
  for (const promise of [died, watched, fed]) promise.catch(() => {})
  try {
    const figures = await Promise.race([fed, died, watched.then(() => fed)])
    child.stdin?.end()
    const late = sleep(END_MS, over.signal).then(() => failedError(`it did not end within ${END_MS} ms`))
    const error = await Promise.race([ended, late])
    if (error) throw error
    return { width: frame.width, height: frame.height, ...figures }
  } finally {
    over.abort()
    child.kill('SIGKILL')
    await ended
  }
}

/** The picture that is handed over next: bytes B, G, R and one that means nothing. */
class StreamFrame {
  /** Even, as H.264 wants them. */
  readonly width: number
  readonly height: number
  readonly bytes: Uint8Array
  /** Whether the screen shows something else by now. */
  isOld = false
  readonly #words: Uint32Array

  constructor(first: Picture) {
    this.width = first.width + (first.width & 1)
    this.height = first.height + (first.height & 1)
    this.#words = new Uint32Array(this.width * this.height)
    this.bytes = new Uint8Array(this.#words.buffer)
    this.show(first)
  }

  show({ width, height, data }: Picture): void {
    const columns = Math.min(width, this.width)
    if (columns < this.width || height < this.height) this.#words.fill(0)
    for (let row = 0; row < Math.min(height, this.height); row++) {
      this.#words.set(data.subarray(row * width, row * width + columns), row * this.width)
    }
  }
}

/** Notes changes until the signal aborts. @throws what ended the display for good. */
async function watch(picture: DisplayPicture, frame: StreamFrame, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await picture.changed({ signal })
      frame.isOld = true
    } catch (error) {
      if (!signal.aborted) throw error
    }
  }
}

/** Hands over a picture whenever it is time. A program that is slower gets fewer. */
async function feed(
  input: Writable,
  picture: DisplayPicture,
  frame: StreamFrame,
  { framesPerS, forMs, signal }: { framesPerS: number; forMs: number; signal: AbortSignal },
): Promise<{ frames: number; durationMs: number }> {
  const startedMs = performance.now()
  const passedMs = () => performance.now() - startedMs
  let frames = 0
  while (!signal.aborted && passedMs() < forMs) {
    if (frame.isOld && picture.size) {
      frame.isOld = false
      frame.show(await picture.screenshot({ signal }))
    }
    // The bytes are the program's until it has read all of them.
    await new Promise<void>((resolve) => input.write(frame.bytes, () => resolve()))
    frames++
    const nextMs = (Math.floor((passedMs() * framesPerS) / 1000) + 1) * (1000 / framesPerS)
    await sleep(Math.max(0, Math.min(nextMs, forMs) - passedMs()), signal).catch(() => {})
  }
  return { frames, durationMs: passedMs() }
}

/** Where ffmpeg writes. Names of folders are not among its arguments, in which some characters have a meaning. */
interface StreamOutput {
  args: readonly string[]
  folder: string | undefined
}

async function outputOf(to: StreamTarget): Promise<StreamOutput> {
  if ('hls' in to) {
    const folder = resolve(to.hls)
    try {
      await mkdir(folder, { recursive: true })
    } catch (cause) {
      throw targetError(`${folder} is no folder that can be written to`, cause)
    }
    const segments = [
      '-hls_time',
      `${SEGMENT_S}`,
      '-hls_list_size',
      `${SEGMENTS_KEPT}`,
      '-hls_flags',
      'delete_segments',
    ]
    return { args: ['-f', 'hls', ...segments, '-hls_segment_filename', 'screen%06d.ts', 'index.m3u8'], folder }
  }
  const url = URL.canParse(to.rtsp) ? new URL(to.rtsp) : undefined
  if (!url || !['rtsp:', 'rtsps:'].includes(url.protocol) || url.hostname === '') {
    throw targetError('the address is not of the form rtsp://host:port/name')
  }
  return { args: ['-f', 'rtsp', '-rtsp_transport', 'tcp', url.href], folder: undefined }
}

async function start(frame: StreamFrame, framesPerS: number, { args, folder }: StreamOutput): Promise<ChildProcess> {
  const size = `${frame.width}x${frame.height}`
  const input = ['-f', 'rawvideo', '-pixel_format', 'bgr0', '-video_size', size, '-framerate', `${framesPerS}`]
  const codec = ['-c:v', 'libx264', '-preset', 'ultrafast', '-tune', 'zerolatency', '-pix_fmt', 'yuv420p']
  // A segment begins with a picture that needs no other.
  const pace = ['-force_key_frames', `expr:gte(t,n_forced*${SEGMENT_S})`]
  const all = ['-hide_banner', '-loglevel', 'error', '-use_wallclock_as_timestamps', '1', ...input, '-i', 'pipe:0']
  const child = spawn(PROGRAM, [...all, '-an', ...codec, ...pace, ...args], {
    stdio: ['pipe', 'ignore', 'pipe'],
    // Ctrl+C is for us; it ends with its input.
    detached: true,
    ...(folder !== undefined && { cwd: folder }),
  })
  // A program that ends early breaks the pipe; its own words say why.
  child.stdin.on('error', () => {})
  try {
    await once(child, 'spawn')
    return child
  } catch (cause) {
    throw unsupportedError('ATP_SPICE_STREAM_PROGRAM', `the screen cannot be streamed: ${PROGRAM} is not installed`, {
      cause,
      remedy: 'type: sudo apt-get install --no-install-recommends -y ffmpeg',
      verdict: 'infrastructure',
    })
  }
}

/** Resolves when the program has ended, to what was wrong. */
function endOf(child: ChildProcess): Promise<AtpError | undefined> {
  let complaint = ''
  child.stderr?.setEncoding('utf8').on('data', (part: string) => {
    complaint = (complaint + part).slice(-COMPLAINT_MAX)
  })
  return new Promise((resolve) =>
    child.once('close', (code, signal) =>
      resolve(code === 0 ? undefined : failedError(`it ended with ${code ?? signal}: ${complaint.trim()}`)),
    ),
  )
}

function failedError(what: string): AtpError {
  return remoteError('ATP_SPICE_STREAM_FAILED', `${PROGRAM} did not stream the screen: ${what}`)
}

function targetError(what: string, cause?: unknown): AtpError {
  return configError('ATP_SPICE_STREAM_TARGET', `a screen cannot be streamed there: ${what}`, {
    cause,
    remedy: 'give a folder for HLS, or an address such as rtsp://host:8554/name',
  })
}

function rateError(framesPerS: number, forMs: number): AtpError {
  return configError(
    'ATP_SPICE_STREAM_RATE',
    `a screen cannot be streamed ${framesPerS} times a second for ${forMs} ms`,
    {
      remedy: 'give 1 to 60 pictures a second, and a time',
    },
  )
}
