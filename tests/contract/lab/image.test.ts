import { chmod, mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { ensureImage, findImage } from '../../../lab/image/build.ts'
import { labPaths, type LabPaths } from '../../../lab/paths.ts'
import { runProgram } from '../../../lab/run-program.ts'

let paths: LabPaths
beforeEach(async () => {
  paths = labPaths({ ATP_HOME: await mkdtemp('/tmp/atp-image-') })
})
afterEach(() => rm(paths.home, { recursive: true, force: true }))

const leftovers = () => readdir(paths.images).catch(() => [])

function setEnv(name: string, value: string): void {
  const before = process.env[name]
  process.env[name] = value
  onTestFinished(() => {
    if (before === undefined) delete process.env[name]
    else process.env[name] = before
  })
}

describe('guest image', () => {
  it('says that the network is down, names the remedy and leaves nothing', async () => {
    // Nobody listens there; apt goes through this proxy.
    setEnv('http_proxy', 'http://127.0.0.1:9')
    setEnv('https_proxy', 'http://127.0.0.1:9')
    await expect(ensureImage(paths)).rejects.toMatchObject({
      code: 'ATP_LAB_IMAGE_NETWORK',
      branch: 'connect',
      remedy: expect.stringContaining('network') as string,
    })
    expect(await leftovers()).toEqual([])
  })

  it('says that the disk is full and leaves nothing', async (context) => {
    await mkdir(paths.images)
    const mounted = await runProgram('mount', ['-t', 'tmpfs', '-o', 'size=20m,mode=755', 'atp-test', paths.images])
    if (mounted.exitCode !== 0) context.skip(`a small file system cannot be mounted: ${mounted.stderr.trim()}`)
    try {
      await expect(ensureImage(paths)).rejects.toMatchObject({
        code: 'ATP_LAB_IMAGE_DISK',
        message: expect.stringContaining('ATP_HOME') as string,
      })
      expect(await leftovers()).toEqual([])
    } finally {
      await runProgram('umount', [paths.images])
    }
  })

  it('says where it may not write', async (context) => {
    if (process.getuid?.() === 0) context.skip('root may write everywhere')
    await chmod(paths.home, 0o500)
    await expect(ensureImage(paths)).rejects.toMatchObject({ code: 'ATP_LAB_IMAGE_BUILD' })
    await chmod(paths.home, 0o700)
  })

  it('leaves nothing when it is interrupted', async () => {
    const stop = new AbortController()
    const building = ensureImage(paths, { signal: stop.signal, onProgress: () => stop.abort() })
    await expect(building).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
    expect(await leftovers()).toEqual([])
  })

  it('removes what a killed build left', async () => {
    await mkdir(join(paths.images, '.building-dead'), { recursive: true })
    const stop = new AbortController()
    await expect(ensureImage(paths, { signal: stop.signal, onProgress: () => stop.abort() })).rejects.toThrow()
    expect(await leftovers()).toEqual([])
  })

  it('is not found where none was built', async () => {
    expect(await findImage(paths)).toBeUndefined()
  })
})
