import { assertionError, parseDuration } from '../../core/index.ts'
import type { DisplayFigures } from '../../protocols/spice/index.ts'
import { DURATION, type JsonSchema } from '../model/index.ts'
import { defineStep, type StepParams } from '../step-kind.ts'

const FIGURE: JsonSchema = { type: 'number', minimum: 0 }

export const spiceMeasure = defineStep({
  action: 'spice.measure',
  summary: 'Measures what a display does over SPICE; capture stores the figures, limits fail the step',
  params: {
    properties: {
      for: { ...DURATION, description: 'How long' },
      display: { type: 'integer', minimum: 0, maximum: 255, description: 'Which display; default 0' },
      max_bytes_per_s: { ...FIGURE, description: 'Most bytes of the display in a second' },
      max_messages_per_s: { ...FIGURE, description: 'Most messages of the display in a second' },
      max_frames_per_s: { ...FIGURE, description: 'Most changes of the picture in a second' },
      min_frames_per_s: { ...FIGURE, description: 'Fewest changes of the picture in a second' },
    },
    required: ['for'],
  },
  needs: ['vm'],
  passive: true,
  ownDurationMs: ({ for: duration }) => parseDuration(duration as string | number, 's'),
  async run({ vm, call }, params) {
    const { for: duration, display = 0 } = params
    const forMs = parseDuration(duration as string | number, 's')
    const session = await vm.spice(call)
    const figures = await session.measure({ forMs, display: display as number, signal: call.signal })
    const note = `${perS(figures.framesPerS)} frames, ${perS(figures.bytesPerS)} bytes, ${perS(figures.messagesPerS)} messages a second`
    const complaints = complaintsAbout(figures, params)
    if (complaints.length > 0) {
      throw assertionError('ATP_SPICE_FIGURES', `display ${figures.display} of ${vm.name}: ${complaints.join('; ')}`, {
        context: { figures },
      })
    }
    return { note, output: outputOf(figures) }
  },
})

function complaintsAbout(figures: DisplayFigures, params: StepParams): string[] {
  const limits = [
    ['max_bytes_per_s', figures.bytesPerS, 'bytes'],
    ['max_messages_per_s', figures.messagesPerS, 'messages'],
    ['max_frames_per_s', figures.framesPerS, 'frames'],
    ['min_frames_per_s', figures.framesPerS, 'frames'],
  ] as const
  return limits.flatMap(([name, value, what]) => {
    const limit = params[name] as number | undefined
    if (limit === undefined) return []
    const least = name.startsWith('min')
    if (least ? value >= limit : value <= limit) return []
    return [`${perS(value)} ${what} a second, ${least ? 'fewer' : 'more'} than ${limit}`]
  })
}

/** The figures under names as YAML has them. */
function outputOf({ durationMs, framesPerS, bytesPerS, messagesPerS, videoFrames, ...rest }: DisplayFigures) {
  return {
    ...rest,
    duration_ms: durationMs,
    frames_per_s: framesPerS,
    bytes_per_s: bytesPerS,
    messages_per_s: messagesPerS,
    video_frames: videoFrames,
  }
}

function perS(value: number): string {
  return value < 10 ? value.toFixed(1) : String(Math.round(value))
}
