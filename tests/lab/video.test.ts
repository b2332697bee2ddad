import { readFileSync } from 'node:fs'
import { decodeApng } from 'fast-png'
import { describe, expect, it } from 'vitest'
import { project, spec } from './project.ts'

const SPECS = {
  'specs/a.spec.ts': spec(`test.override('vmOptions', { profile: 'spice' })
test.override('screenOptions', { via: 'spice' })
const count = 'for i in 1 2 3; do echo $i > /dev/tty0; sleep 0.5; done'
test('失败', async ({ screen, guest, spice }) => {
  await screen.picture()
  await guest.shell(count)
  await spice.measure({ forMs: 200 })
  throw new Error('on purpose')
})
test('passes', async ({ screen, guest }) => {
  await screen.picture()
  await guest.shell(count)
})`),
}

describe('the video of a failed test', () => {
  it('shows what its SPICE screen went through; figures are attached', async () => {
    const home = project(SPECS)
    expect((await home.run(['test'])).code).toBe(1)
    const { reports } = home.report()
    const [passed, failed] = [true, false].map((whether) =>
      reports.filter(({ status }) => (status === 'passed') === whether).flatMap(({ attachments }) => attachments),
    )
    const video = failed?.find(({ name }) => name.endsWith(' video'))
    expect(video).toMatchObject({ content_type: 'image/png' })
    const film = decodeApng(readFileSync(video?.path as string))
    expect(film).toMatchObject({ width: 1024, height: 768 })
    expect(film.numberOfFrames).toBeGreaterThanOrEqual(3)
    expect(failed?.map(({ name }) => name)).toContainEqual(expect.stringMatching(/ display 0 figures$/))
    expect(passed?.filter(({ name }) => name.includes('video'))).toEqual([])
  })

  it('is not made where it is off', async () => {
    const home = project(SPECS, { video: 'off' })
    expect((await home.run(['test'])).code).toBe(1)
    const names = home.report().reports.flatMap(({ attachments }) => attachments)
    expect(names.some(({ name }) => name.endsWith(' screen'))).toBe(true)
    expect(names.some(({ name }) => name.endsWith(' video'))).toBe(false)
  })
})
