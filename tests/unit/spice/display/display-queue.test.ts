import { expect, it } from 'vitest'
import {
  runImageJob,
  type ImageJob,
  type ImageJobResult,
} from '../../../../framework/protocols/spice/codec/image-job.ts'
import { DisplayQueue } from '../../../../framework/protocols/spice/display/display-queue.ts'
import { SURFACE_FORMAT } from '../../../../framework/protocols/spice/display/messages.ts'
import { DISPLAY_SERVER, IMAGE_TYPE } from '../../../../framework/protocols/spice/wire/numbers.ts'
import { SpiceWriter } from '../../../../framework/protocols/spice/wire/writer.ts'
import { recordedBytes } from '../quic/recordings.ts'
import { copy, descriptor, fill, newScreen } from './display-messages.ts'

const BOX = { x: 0, y: 0, width: 320, height: 200 }
const QUIC = recordedBytes('desktop-rgb32-320x200.quic')
const IMAGE = descriptor(1n, IMAGE_TYPE.quic, 0, BOX.width, BOX.height).u32(QUIC.length).bytes(QUIC).finish()
const COPY = copy(BOX, IMAGE)

/** A queue whose jobs are done when the test says so. */
function newQueue() {
  const state = newScreen(BOX.width, BOX.height, SURFACE_FORMAT.xrgb)
  const jobs: { job: ImageJob; done: PromiseWithResolvers<ImageJobResult> }[] = []
  const handled: number[] = []
  const errors: Error[] = []
  const seen = { holds: 0, held: 0 }
  const queue = new DisplayQueue({
    state,
    decode: (job) => {
      const done = Promise.withResolvers<ImageJobResult>()
      jobs.push({ job: { ...job, bytes: new Uint8Array(job.bytes) }, done })
      return done.promise
    },
    handle: (type, body, done) => {
      state.handle(type, body, done)
      handled.push(type)
    },
    hold: () => {
      seen.holds++
      seen.held++
      return () => void seen.held--
    },
    onError: (error) => void errors.push(error),
  })
  const finish = (index: number) => jobs[index]?.done.resolve(runImageJob(jobs[index].job))
  return { state, queue, jobs, handled, errors, seen, finish }
}

/** `fill` with enough behind it that the size alone does not tell that nothing is to be decoded. */
function paddedFill(color: number): Uint8Array {
  return new SpiceWriter().bytes(fill(BOX, color)).bytes(new Uint8Array(20_000)).finish()
}

it('draws in the order of the messages, and decodes those behind meanwhile', async () => {
  const { state, queue, jobs, handled, finish } = newQueue()
  queue.take(DISPLAY_SERVER.drawFill, paddedFill(0x123456))
  expect(handled).toEqual([DISPLAY_SERVER.drawFill])
  const lent = new Uint8Array(COPY)
  queue.take(DISPLAY_SERVER.drawCopy, lent)
  queue.take(DISPLAY_SERVER.drawFill, fill(BOX, 0x654321))
  queue.take(DISPLAY_SERVER.drawCopy, lent)
  // The body was only lent.
  lent.fill(0)
  expect(jobs).toHaveLength(2)
  finish(1)
  await new Promise((resolve) => setImmediate(resolve))
  expect(handled).toHaveLength(1)
  finish(0)
  await queue.settled()
  expect(queue.isEmpty).toBe(true)
  const { drawCopy, drawFill } = DISPLAY_SERVER
  expect(handled).toEqual([drawFill, drawCopy, drawFill, drawCopy])
  const reference = newScreen(BOX.width, BOX.height, SURFACE_FORMAT.xrgb)
  reference.handle(drawCopy, COPY)
  expect(state.screenshot()).toEqual(reference.screenshot())
})

it('slows the server down while four images are being decoded', async () => {
  const { queue, jobs, seen, finish } = newQueue()
  for (let count = 0; count < 3; count++) queue.take(DISPLAY_SERVER.drawCopy, COPY)
  expect(seen).toEqual({ holds: 0, held: 0 })
  queue.take(DISPLAY_SERVER.drawCopy, COPY)
  expect(seen).toEqual({ holds: 1, held: 1 })
  finish(0)
  await new Promise((resolve) => setImmediate(resolve))
  expect(seen).toEqual({ holds: 1, held: 0 })
  for (const index of jobs.keys()) finish(index)
  await queue.settled()
  expect(queue.isEmpty).toBe(true)
})

it('an image that cannot be decoded is an error, and nothing behind it is drawn', async () => {
  const { queue, jobs, handled, errors } = newQueue()
  queue.take(DISPLAY_SERVER.drawCopy, COPY)
  queue.take(DISPLAY_SERVER.drawFill, fill(BOX, 0))
  jobs[0]?.done.reject(new Error('broken'))
  await new Promise((resolve) => setImmediate(resolve))
  expect(errors.map(({ message }) => message)).toEqual(['broken'])
  expect(handled).toEqual([])
})

it('what was forgotten is not drawn; what comes then is', async () => {
  const { queue, jobs, handled, errors, finish } = newQueue()
  for (let count = 0; count < 5; count++) queue.take(DISPLAY_SERVER.drawCopy, COPY)
  const settled = queue.settled()
  queue.clear()
  await settled
  queue.take(DISPLAY_SERVER.drawCopy, COPY)
  queue.take(DISPLAY_SERVER.drawFill, fill(BOX, 0))
  for (const index of jobs.keys()) finish(index)
  await queue.settled()
  expect(handled).toEqual([DISPLAY_SERVER.drawCopy, DISPLAY_SERVER.drawFill])
  expect(errors).toEqual([])
})

it('an image that breaks the protocol is left to its handling', () => {
  const { queue, jobs } = newQueue()
  const broken = new Uint8Array(COPY)
  // The pointer to the image.
  new DataView(broken.buffer).setUint32(21, 0xffffff, true)
  expect(() => queue.take(DISPLAY_SERVER.drawCopy, broken)).toThrow(
    expect.objectContaining({ code: 'ATP_SPICE_PROTOCOL' }),
  )
  expect(jobs).toEqual([])
  expect(queue.isEmpty).toBe(true)
})
