import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, it, onTestFinished } from 'vitest'
import { ImageWorkers } from '../../../framework/desktop/image-workers.ts'
import type { ImageJob } from '../../../framework/protocols/spice/index.ts'

const JOB: ImageJob = { codec: 'quic', size: { width: 1, height: 1 }, bytes: new Uint8Array(1) }

/** Threads that run this program. */
async function running(program: string) {
  const folder = await mkdtemp(join(tmpdir(), 'image-workers-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = join(folder, 'program.mjs')
  await writeFile(file, program)
  const workers = new ImageWorkers(pathToFileURL(file))
  const share = workers.share()
  onTestFinished(share.release)
  return { workers, ...share }
}

it.each([
  ['cannot begin', `throw new Error('broken')`],
  [
    'ends in the middle of a job',
    `export default () => new Promise(() => setImmediate(() => { throw new Error('broken') }))`,
  ],
])('a thread that %s fails all jobs, none waits for ever', async (_, program) => {
  const { workers, decode } = await running(program)
  // More than there are threads.
  const jobs = Array.from({ length: 6 }, () => decode(JOB))
  for (const job of await Promise.allSettled(jobs))
    expect(job).toMatchObject({ reason: { code: 'ATP_SPICE_DECODER', cause: { message: expect.any(String) } } })
  expect(workers.threads).toBe(0)
})

it('after a thread ended there are others', async () => {
  const { decode } = await running(`
    export default ({ bytes }) => {
      if (bytes[0] === 0) return { bytes }
      return new Promise(() => setImmediate(() => { throw new Error('broken') }))
    }`)
  await expect(decode({ ...JOB, bytes: Uint8Array.of(1) })).rejects.toMatchObject({ code: 'ATP_SPICE_DECODER' })
  expect(await decode(JOB)).toEqual({ bytes: Uint8Array.of(0) })
})
