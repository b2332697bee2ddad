import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ReferenceImages, SourceScreen, type Picture } from '../../../framework/screen/index.ts'
import { picture } from './picture.ts'

const black = picture(20, 10)
const dot = picture(20, 10, { '3,4': 0xffffff })

/** A screen that shows one picture after the other, a look each; the last one stays. */
function showing(...pictures: Picture[]): SourceScreen {
  return new SourceScreen({
    name: 'vm-001',
    via: 'libvirt',
    picture: async () => (pictures.length > 1 ? (pictures.shift() as Picture) : (pictures[0] as Picture)),
  })
}

describe('a screen', () => {
  it('is stable when nothing has changed for a while', async () => {
    expect(await showing(black, dot, black, dot).waitForStable({ forMs: 120 })).toBe(dot)
    let looks = 0
    const blinking = new SourceScreen({
      name: 'vm-001',
      via: 'libvirt',
      picture: async () => (looks++ % 2 === 0 ? black : dot),
    })
    await expect(blinking.waitForStable({ forMs: 400, timeoutMs: 700 })).rejects.toMatchObject({
      code: 'ATP_SCREEN_UNSTABLE',
      verdict: 'product',
    })
    expect(await blinking.waitForStable({ forMs: 200, maxPixels: 1 })).toBeDefined()
  })

  it('has changed when it differs from the time of the call, or from a given picture', async () => {
    expect(await showing(black, black, dot).waitForChange()).toBe(dot)
    expect(await showing(black).waitForChange({ since: dot })).toBe(black)
    await expect(showing(black).waitForChange({ timeoutMs: 80 })).rejects.toMatchObject({
      code: 'ATP_SCREEN_UNCHANGED',
    })
  })

  it('tells of its changes, where its source can', async () => {
    const change = Promise.withResolvers<void>()
    let now = black
    const looks: Picture[] = []
    const screen = new SourceScreen({
      name: 'vm-001',
      via: 'spice',
      picture: async () => {
        looks.push(now)
        return now
      },
      changed: () => change.promise,
    })
    const changed = screen.waitForChange()
    await new Promise((resolve) => setImmediate(resolve))
    expect(looks).toEqual([black, black])
    now = dot
    change.resolve()
    expect(await changed).toBe(dot)
  })

  it('has the size that is waited for, or says which it has', async () => {
    const wide = picture(30, 10)
    expect(await showing(black, wide).waitForSize({ width: 30, height: 10 })).toBe(wide)
    await expect(showing(black).waitForSize({ width: 1, height: 1 }, { timeoutMs: 50 })).rejects.toThrow(
      'has 20×10, not 1×1 pixels',
    )
  })

  it('is in the first of several states that holds', async () => {
    const states = [
      { name: 'login', image: dot },
      { name: 'desktop', when: ({ data }: Picture) => data[0] === 7 },
    ]
    expect(await showing(black, dot).first(states)).toBe('login')
    expect(await showing(black, picture(20, 10, { '0,0': 7 })).first(states)).toBe('desktop')
    await expect(showing(black).first(states, { timeoutMs: 100 })).rejects.toMatchObject({
      code: 'ATP_SCREEN_NONE',
      message: expect.stringContaining('login: 1 of 200 pixels differ; desktop: its condition does not hold'),
    })
    for (const bad of [[], [{ name: 'a' }], [...states, { name: 'login', image: dot }]]) {
      await expect(showing(black).first(bad)).rejects.toMatchObject({ code: 'ATP_SCREEN_STATES' })
    }
  })

  it('is interrupted', async () => {
    const controller = new AbortController()
    const waiting = showing(black).waitForChange({ signal: controller.signal })
    controller.abort()
    await expect(waiting).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  })
})

describe('expected pictures', () => {
  let folder: string
  beforeEach(async () => (folder = await mkdtemp(join(tmpdir(), 'atp-screens-'))))
  afterEach(() => rm(folder, { recursive: true }))
  const attached: string[] = []
  const attach = (name: string) => void attached.push(name)
  beforeEach(() => void attached.splice(0))
  const images = (update = false) => new ReferenceImages(join(folder, '登录.spec.ts'), update)

  it('are written on demand and compared from then on', async () => {
    const note = await images(true).match(showing(dot), '登录', { timeoutMs: 2000 }, attach)
    expect(note).toBe('__screens__/登录.png was written, not compared')
    expect(await readdir(join(folder, '__screens__'))).toEqual(['登录.png'])
    expect(attached.splice(0)).toEqual(['登录: written, not compared'])
    expect(await images().match(showing(black, dot), '登录', { timeoutMs: 2000 }, attach)).toBe('as expected')
    expect(attached).toEqual([])
    await expect(images().match(showing(black), '登录', { timeoutMs: 60 }, attach)).rejects.toMatchObject({
      code: 'ATP_SCREEN_IMAGE',
      verdict: 'product',
      message: expect.stringContaining('the screen of vm-001 does not look like "登录": 1 of 200 pixels differ'),
    })
    expect(attached).toEqual(['登录: seen', '登录: expected', '登录: differences'])
  })

  it('hold the region only', async () => {
    const region = { x: 2, y: 3, width: 4, height: 4 }
    await images(true).match(showing(dot), 'part', { region }, attach)
    expect(await images().read('part')).toMatchObject({ width: 4, height: 4 })
    expect(await images().match(showing(dot), 'part', { region, timeoutMs: 500 }, attach)).toBe('as expected')
  })

  it('that do not exist are no success: what was seen is attached', async () => {
    await expect(images().match(showing(dot), 'new', {}, attach)).rejects.toMatchObject({
      code: 'ATP_SCREEN_NO_REFERENCE',
      remedy: expect.stringContaining('--update-screens'),
    })
    expect(attached).toEqual(['new: seen'])
  })

  it('have names that lead nowhere else', async () => {
    for (const name of ['', '../x', 'a/b', '.hidden', 'x\0']) {
      await expect(images(true).match(showing(dot), name, {}, attach)).rejects.toMatchObject({
        code: 'ATP_SCREEN_IMAGE_NAME',
      })
    }
    await expect(readdir(folder)).resolves.toEqual([])
  })
})
