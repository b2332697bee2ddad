/** What `atp spice info` and `stream` do. */
import { resolve } from 'node:path'
import { configError } from '../core/index.ts'
import type { StreamTarget } from '../desktop/screen-stream.ts'
import { encodingRows } from '../protocols/spice/index.ts'
import { withConsole, type ConsoleOptions } from './spice-console.ts'
import { textTable } from './text-table.ts'

interface CommandOptions extends ConsoleOptions {
  json?: boolean
}

/** Prints what a server offers. */
export function info(console: string, { try: tryForMs, json, ...options }: CommandOptions & { try?: number }) {
  return withConsole(console, options, async (session) => {
    const report = await session.encodings({ tryForMs })
    process.stdout.write(json ? `${JSON.stringify(report)}\n` : textTable(['WHAT', 'SAYS'], encodingRows(report)))
  })
}

/** Streams a screen until its time is over or the command is interrupted. */
export function stream(
  console: string,
  {
    hls,
    rtsp,
    fps,
    for: forMs,
    json,
    ...options
  }: CommandOptions & { hls?: string; rtsp?: string; fps?: number; for?: number },
) {
  const to = targetOf(hls, rtsp)
  return withConsole(console, options, async (session) => {
    const stop = new AbortController()
    const onSignal = () => stop.abort()
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, onSignal)
    const place = 'hls' in to ? resolve(to.hls, 'index.m3u8') : to.rtsp.replace(/\/\/[^/]*@/, '//•••@')
    process.stderr.write(`spice: streaming ${console} to ${place}\n`)
    const figures = await session.stream({ to, framesPerS: fps, forMs, stop: stop.signal })
    const { width, height, frames, durationMs } = figures
    const text = `${frames} pictures of ${width}×${height} in ${(durationMs / 1000).toFixed(1)} s\n`
    process.stdout.write(json ? `${JSON.stringify(figures)}\n` : text)
  })
}

function targetOf(hls: string | undefined, rtsp: string | undefined): StreamTarget {
  if (hls !== undefined) return { hls }
  if (rtsp !== undefined) return { rtsp }
  throw configError('ATP_USAGE', 'it is not said where to stream to', { remedy: 'give --hls <folder> or --rtsp <url>' })
}
