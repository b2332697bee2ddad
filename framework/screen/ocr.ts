import { spawn } from 'node:child_process'
import { configError, remoteError, unsupportedError, withDeadline, type CallOptions } from '../core/index.ts'
import type { Picture } from './api.ts'
import { encodePng } from './image-file.ts'

const PROGRAM = 'tesseract'
const TIMEOUT_MS = 30_000
/** Screens have about 96 dots an inch; Tesseract reads best at 300. */
const ENLARGEMENT = 3
const OUTPUT_MAX_BYTES = 1_048_576

/**
 * The text in a picture, read by the system's Tesseract, line by line.
 *
 * @throws `ATP_SCREEN_OCR` when Tesseract or a language is not installed, `ATP_SCREEN_LANGUAGE`, `ATP_TIMEOUT`.
 */
export async function readText(
  picture: Picture,
  languages: readonly string[],
  { timeoutMs = TIMEOUT_MS, signal }: CallOptions,
): Promise<string> {
  for (const language of languages) {
    if (/^[a-z]{3}(_[a-z]+)?$/i.test(language)) continue
    throw configError('ATP_SCREEN_LANGUAGE', `${JSON.stringify(language)} is not a language of Tesseract`, {
      remedy: 'use its names: eng, chi_sim, deu',
    })
  }
  const { bytes } = encodePng(enlarge(darkOnLight(picture)))
  // 6: one block of text, which a screen or a crop of it is to a reader.
  const args = ['stdin', 'stdout', '-l', languages.join('+'), '--psm', '6']
  return withDeadline(`reading text with ${PROGRAM}`, { timeoutMs, signal }, (bound) =>
    runTesseract(args, languages, bytes, bound),
  )
}

function runTesseract(args: string[], languages: readonly string[], png: Uint8Array, signal: AbortSignal) {
  return new Promise<string>((resolve, reject) => {
    // One thread: several of them wait for each other longer than they work.
    const env = { ...process.env, OMP_THREAD_LIMIT: '1' }
    const child = spawn(PROGRAM, args, { stdio: ['pipe', 'pipe', 'pipe'], env, signal, killSignal: 'SIGKILL' })
    let text = ''
    let complaint = ''
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      if (text.length < OUTPUT_MAX_BYTES) text += part
    })
    child.stderr.setEncoding('utf8').on('data', (part: string) => {
      if (complaint.length < OUTPUT_MAX_BYTES) complaint += part
    })
    child.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'ENOENT' ? missing(languages, error) : error),
    )
    child.once('close', (code) => {
      if (code === 0) resolve(text.trim())
      else if (/language|traineddata/i.test(complaint)) reject(missing(languages, new Error(complaint.trim())))
      else reject(remoteError('ATP_SCREEN_OCR_FAILED', `${PROGRAM} ended with ${code}: ${complaint.trim()}`))
    })
    // A program that ends early breaks the pipe; its exit code says why.
    child.stdin.once('error', () => {})
    child.stdin.end(png)
  })
}

function missing(languages: readonly string[], cause: Error): Error {
  const packages = [
    'tesseract-ocr',
    ...languages.map((name) => `tesseract-ocr-${name.toLowerCase().replace('_', '-')}`),
  ]
  return unsupportedError(
    'ATP_SCREEN_OCR',
    `text cannot be read: ${PROGRAM} or its ${languages.join(', ')} is missing`,
    {
      cause,
      remedy: `type: sudo apt-get install --no-install-recommends -y ${packages.join(' ')}`,
      verdict: 'infrastructure',
    },
  )
}

/** Shades of grey, dark on light: what most of the reader's training looked like. */
function darkOnLight({ width, height, data }: Picture): Picture {
  const grey = new Uint8Array(data.length)
  let sum = 0
  for (let at = 0; at < data.length; at++) {
    const pixel = data[at] as number
    const shade = (((pixel >>> 16) & 0xff) * 77 + ((pixel >>> 8) & 0xff) * 150 + (pixel & 0xff) * 29) >> 8
    grey[at] = shade
    sum += shade
  }
  const invert = sum / data.length < 128
  return { width, height, data: Uint32Array.from(grey, (shade) => (invert ? 255 - shade : shade) * 0x010101) }
}

function enlarge({ width, height, data }: Picture): Picture {
  const wide = width * ENLARGEMENT
  const enlarged = new Uint32Array(wide * height * ENLARGEMENT)
  for (let y = 0; y < height * ENLARGEMENT; y++) {
    const from = Math.floor(y / ENLARGEMENT) * width
    for (let x = 0; x < wide; x++) enlarged[y * wide + x] = data[from + Math.floor(x / ENLARGEMENT)] as number
  }
  return { width: wide, height: height * ENLARGEMENT, data: enlarged }
}
