/** What a thread of {@link ImageWorkers} runs: one job after the other. */
import { Tinypool } from 'tinypool'
import { isAtpError } from '../core/errors.ts'
import { runImageJob, type ImageJob, type ImageJobResult } from '../protocols/spice/codec/image-job.ts'

/** What a thread answers. Errors lose what they are on their way between threads. */
export type ImageJobAnswer = ImageJobResult | { broken: { message: string; context: Record<string, unknown> } }

export default function answer(job: ImageJob): unknown {
  try {
    const result = runImageJob(job)
    const memory = (result.pixels?.data ?? result.bytes)?.buffer
    return Tinypool.move({ [Tinypool.transferableSymbol]: memory, [Tinypool.valueSymbol]: result } as never)
  } catch (error) {
    if (!isAtpError(error, 'ATP_SPICE_IMAGE')) throw error
    return { broken: { message: error.message, context: error.context } } satisfies ImageJobAnswer
  }
}
