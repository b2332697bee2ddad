import { crc32, deflate, inflateSync } from 'node:zlib'
import { promisify } from 'node:util'
import type { Picture, Region } from './api.ts'

const compress = promisify(deflate)

/** What changed at one time. */
interface Change {
  atMs: number
  /** Size of the whole screen from then on. */
  screen: Size
  /** The part that changed; all of the screen when its size did. */
  region: Region
  /** The part as PNG has it: rows of a filter byte (none) and RGB, deflated. */
  pixels: Uint8Array
}
interface Size {
  width: number
  height: number
}

interface FilmOptions {
  /** Most bytes of changes. Older ones are given up for newer ones. Default 8 MiB. */
  maxBytes?: number
  /** Longest time that is kept, milliseconds. Default two minutes. */
  maxMs?: number
}

const SIGNATURE = Uint8Array.of(0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a)
/** Red, green, blue, 8 bits each. */
const RGB = Uint8Array.of(8, 2, 0, 0, 0)
const LAST_FRAME_MS = 2000
/** Longest that a frame can be shown, in hundredths of a second. */
const MOST_HUNDREDTHS = 0xffff

/**
 * The last while of a screen, as the changes it went through. It takes as much memory as its settings and one picture
 * allow, however long it runs.
 */
export class Film {
  readonly #maxBytes: number
  readonly #maxMs: number
  readonly #changes: Change[] = []
  #bytes = 0
  #last: Picture | undefined
  /** What the screen showed before the first of the changes. */
  #base: Canvas | undefined

  constructor({ maxBytes = 8 * 1024 * 1024, maxMs = 120_000 }: FilmOptions = {}) {
    this.#maxBytes = maxBytes
    this.#maxMs = maxMs
  }

  /** Bytes of the changes that are kept. */
  get sizeBytes(): number {
    return this.#bytes
  }

  /**
   * Adds what the screen shows at a time; nothing when it did not change. Calls come one after the other. The picture
   * is the film's from then on.
   */
  async add(picture: Picture, atMs: number): Promise<void> {
    const { width, height } = picture
    const region = changedRegion(this.#last, picture)
    if (!region) return
    this.#last = picture
    const pixels = await compress(rowsOf(picture, region), { level: 3 })
    this.#changes.push({ atMs, screen: { width, height }, region, pixels })
    this.#bytes += pixels.length
    this.#giveUp(atMs)
  }

  /**
   * An animated PNG of all that is kept: it shows each picture as long as the screen did, the last one two seconds at
   * least, and begins again. Undefined where nothing was added.
   *
   * @param endMs until when the last picture was there.
   */
  async toAnimatedPng(endMs: number): Promise<Uint8Array | undefined> {
    const frames = [...(this.#base ? [await this.#base.toChange()] : []), ...this.#changes]
    const [first] = frames
    if (!first) return undefined
    const width = Math.max(...frames.map(({ screen }) => screen.width))
    const height = Math.max(...frames.map(({ screen }) => screen.height))
    const chunks = [SIGNATURE, chunk('IHDR', words(width, height), RGB), chunk('acTL', words(frames.length, 0))]
    let serial = 0
    for (const [index, frame] of frames.entries()) {
      const { region, pixels } = await onCanvas(frame, { width, height })
      const next = frames[index + 1]?.atMs ?? Math.max(endMs, frame.atMs + LAST_FRAME_MS)
      const shown = Math.min(Math.max(Math.round((next - frame.atMs) / 10), 1), MOST_HUNDREDTHS)
      const place = words(serial++, region.width, region.height, region.x, region.y)
      // Delay as a fraction; then: leave what is there, and replace the part.
      chunks.push(chunk('fcTL', place, Uint8Array.of(shown >> 8, shown & 0xff, 0, 100, 0, 0)))
      chunks.push(index === 0 ? chunk('IDAT', pixels) : chunk('fdAT', words(serial++), pixels))
    }
    return Buffer.concat([...chunks, chunk('IEND')])
  }

  /** Forgets the oldest changes until the rest is within the limits. The last one stays. */
  #giveUp(nowMs: number): void {
    for (;;) {
      const [oldest] = this.#changes
      if (!oldest || this.#changes.length === 1) return
      if (this.#bytes <= this.#maxBytes && nowMs - oldest.atMs < this.#maxMs) return
      this.#changes.shift()
      this.#bytes -= oldest.pixels.length
      this.#base = Canvas.after(this.#base, oldest)
    }
  }
}

/** A whole picture that changes are painted on. */
class Canvas {
  readonly #rows: Buffer
  readonly #screen: Size
  #atMs = 0

  private constructor(screen: Size) {
    this.#screen = screen
    this.#rows = Buffer.alloc(rowBytes(screen.width) * screen.height)
  }

  /** The canvas with a change on it; another one where the screen has another size. */
  static after(canvas: Canvas | undefined, change: Change): Canvas {
    const { screen } = change
    const same = canvas && canvas.#screen.width === screen.width && canvas.#screen.height === screen.height
    const painted = same ? canvas : new Canvas(screen)
    painted.#paint(change)
    return painted
  }

  /** The picture as a change of everything. */
  async toChange(): Promise<Change> {
    const region = { x: 0, y: 0, ...this.#screen }
    return { atMs: this.#atMs, screen: this.#screen, region, pixels: await compress(this.#rows, { level: 3 }) }
  }

  #paint({ atMs, region, pixels }: Change): void {
    const { x, y, width, height } = region
    const part = inflateSync(pixels)
    const [from, to] = [rowBytes(width), rowBytes(this.#screen.width)]
    for (let row = 0; row < height; row++) {
      part.copy(this.#rows, (y + row) * to + 1 + x * 3, row * from + 1, (row + 1) * from)
    }
    this.#atMs = atMs
  }
}

/** A frame that fits the canvas: one that begins a screen of another size covers all of it. */
async function onCanvas(
  { screen, region, pixels }: Change,
  canvas: Size,
): Promise<{ region: Region; pixels: Uint8Array }> {
  const whole = region.width === screen.width && region.height === screen.height
  if (!whole || (screen.width === canvas.width && screen.height === canvas.height)) return { region, pixels }
  const [from, to] = [rowBytes(screen.width), rowBytes(canvas.width)]
  const rows = inflateSync(pixels)
  const all = Buffer.alloc(to * canvas.height)
  for (let row = 0; row < screen.height; row++) rows.copy(all, row * to, row * from, (row + 1) * from)
  return { region: { x: 0, y: 0, ...canvas }, pixels: await compress(all, { level: 3 }) }
}

/** The least rectangle that holds all pixels that differ; undefined where none does. */
function changedRegion(before: Picture | undefined, now: Picture): Region | undefined {
  const { width, height, data } = now
  if (!before || before.width !== width || before.height !== height) return { x: 0, y: 0, width, height }
  let [left, right, top, bottom] = [width, -1, -1, -1]
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      if ((((data[at] as number) ^ (before.data[at] as number)) & 0xffffff) === 0) continue
      if (top < 0) top = y
      bottom = y
      if (x < left) left = x
      if (x > right) right = x
    }
  }
  return top < 0 ? undefined : { x: left, y: top, width: right - left + 1, height: bottom - top + 1 }
}

function rowsOf({ width: stride, data }: Picture, { x, y, width, height }: Region): Buffer {
  const rows = Buffer.alloc(rowBytes(width) * height)
  let to = 0
  for (let row = y; row < y + height; row++) {
    to++
    for (let at = row * stride + x; at < row * stride + x + width; at++) {
      const pixel = data[at] as number
      rows[to++] = pixel >>> 16
      rows[to++] = pixel >>> 8
      rows[to++] = pixel
    }
  }
  return rows
}

function rowBytes(width: number): number {
  return 1 + width * 3
}

function words(...values: number[]): Uint8Array {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4)
  return bytes
}

/** Length, type, content and checksum. */
function chunk(type: string, ...content: Uint8Array[]): Uint8Array {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), ...content])
  return Buffer.concat([words(body.length - 4), body, words(crc32(body))])
}
