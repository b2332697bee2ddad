/** Drawing what a real SPICE server sends: our client beside spice-gtk, and recorded frames on one core. */
import { writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { IMAGE_COMPRESSION } from '../framework/protocols/spice/wire/numbers.ts'
import { PictureServer, type ServerCompression } from '../tests/support/spice-server/picture-server.ts'
import { median, type BenchContext, type BenchResult } from './result.ts'
import { hashOf } from './support/picture-hash.ts'
import { recordFrames, replay } from './support/recorded-frames.ts'
import { SpiceSide, type SideName } from './support/spice-side.ts'
import { frames, movingDesktop, SCREEN, scrolledText, smallDraws, type Draw } from './support/spice-workload.ts'

/** Each side draws all of it in each round. The first round, in which engines get warm, is told apart. */
const ROUNDS = 6
const DESKTOP_FRAMES = 24
const REPLAYS = 12

interface Workload {
  name: 'small_draws' | 'full_frames' | 'lz4_scroll'
  compression?: number
  steps: number
  prepare(server: PictureServer): Promise<Draw>
}

const WORKLOADS: readonly Workload[] = [
  { name: 'small_draws', steps: 20, prepare: smallDraws },
  { name: 'full_frames', steps: 40, prepare: (server) => frames(server, movingDesktop(8)) },
  {
    name: 'lz4_scroll',
    compression: IMAGE_COMPRESSION.lz4,
    steps: 40,
    prepare: (server) => frames(server, scrolledText(8)),
  },
]

type Rounds = Record<SideName, number[]>

export async function run(context: BenchContext): Promise<BenchResult> {
  const failures: string[] = []
  const metrics: Record<string, number> = { load_before: loadavg()[0] as number }
  const ratios: Record<string, number> = {}
  const samples: Record<string, unknown> = {}
  const versions: Record<string, string> = {}
  for (const workload of WORKLOADS) {
    const { rounds, versions: told } = await sideBySide(workload, context, failures)
    Object.assign(versions, told)
    samples[workload.name] = rounds
    const warm = { ours: rounds.ours.slice(1), gtk: rounds.gtk.slice(1) }
    metrics[`cpu_${workload.name}_ms`] = median(warm.ours)
    metrics[`cpu_${workload.name}_gtk_ms`] = median(warm.gtk)
    ratios[`cpu_${workload.name}_vs_gtk`] = median(warm.ours.map((ours, at) => ours / (warm.gtk[at] as number)))
    ratios[`cold_cpu_${workload.name}_vs_gtk`] = (rounds.ours[0] as number) / (rounds.gtk[0] as number)
  }
  for (const [name, compression, asked] of [
    ['lz4', 'off', IMAGE_COMPRESSION.lz4],
    ['quic', 'quic', undefined],
  ] as const) {
    const { fps, each } = await decodeRecorded(name, compression, asked, failures)
    metrics[`decode_fps_${name}`] = fps
    samples[`decode_${name}`] = each
    context.log(`${name}: ${fps.toFixed(1)} frames per second of processor time`)
  }
  metrics['load_after'] = loadavg()[0] as number
  await writeFile(context.samplesFile, JSON.stringify(samples))
  const n = ROUNDS - 1
  return {
    name: 'spice-decode',
    metrics,
    ratios,
    n,
    versions,
    qemuPids: [],
    samplesFile: context.samplesFile,
    failures,
  }
}

/** Processor time of both clients for the same draws, in turn: a server has one client at a time. */
async function sideBySide(workload: Workload, context: BenchContext, failures: string[]) {
  const { name, compression, steps } = workload
  await using server = await PictureServer.start({ compression: 'off' })
  await server.card.createPrimary(SCREEN.width, SCREEN.height)
  const draw = await workload.prepare(server)
  const sides = [await SpiceSide.start('ours'), await SpiceSide.start('gtk')]
  const rounds: Rounds = { ours: [], gtk: [] }
  try {
    for (let round = 0; round < ROUNDS; round++) {
      for (let turn = 0; turn < sides.length; turn++) {
        const side = sides[(round + turn) % sides.length] as SpiceSide
        await side.connect({ host: '127.0.0.1', port: server.port, password: '', channels: ['main', 'display'] })
        if (compression !== undefined) await side.prefer(compression)
        // What the screen showed before has to be sent first, which is not counted.
        await side.shows(await draw())
        const before = await side.cpuMs()
        for (let step = 0; step < steps; step++) await side.shows(await draw())
        rounds[side.name].push((await side.cpuMs()) - before)
        const [seen, there] = [await side.picture(), hashOf(await server.screendump())]
        if (seen.sha256 !== there.sha256) failures.push(`${name}, round ${round}: ${side.name} shows another picture`)
        await side.disconnect()
      }
      const figures = Object.entries(rounds).map(([side, ms]) => `${side} ${ms.at(-1)?.toFixed(0)}`)
      context.log(`${name} round ${round + 1}/${ROUNDS}, CPU ms: ${figures.join(', ')}`)
    }
    const versions = Object.fromEntries(sides.map((side) => [side.name === 'gtk' ? 'spice_gtk' : 'node', side.version]))
    return { rounds, versions }
  } finally {
    for (const side of sides) await side.close()
  }
}

/** Frames for each second of processor time, all threads together. */
async function decodeRecorded(
  name: string,
  compression: ServerCompression,
  asked: number | undefined,
  failures: string[],
): Promise<{ fps: number; each: number[] }> {
  const recording = await recordFrames({ compression, asked, pictures: movingDesktop(DESKTOP_FRAMES) })
  const each: number[] = []
  for (let round = 0; round <= REPLAYS; round++) {
    const { cpuMs, drawn, sha256, failed } = replay(recording)
    if (drawn !== DESKTOP_FRAMES || failed > 0)
      failures.push(`${name}: ${drawn} of ${DESKTOP_FRAMES} frames were drawn`)
    if (sha256 !== recording.sha256) failures.push(`${name}: the last frame is another picture`)
    // The first one is for the engine to get warm.
    if (round > 0) each.push((DESKTOP_FRAMES / cpuMs) * 1000)
  }
  return { fps: median(each), each }
}
