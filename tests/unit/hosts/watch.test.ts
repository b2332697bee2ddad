import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { HostsWatch } from '../../../framework/hosts/index.ts'

const INTERVAL_MS = 10

describe('a file of hosts that is watched', () => {
  let folder: string
  let file: string
  let applied: string[]
  let errors: string[]
  let loads: number
  let watches: HostsWatch<string>[]

  beforeEach(() => {
    folder = mkdtempSync('/tmp/atp-watch-')
    file = `${folder}/hosts.yaml`
    writeFileSync(file, 'one')
    applied = []
    errors = []
    loads = 0
    watches = []
  })
  afterEach(async () => {
    for (const watch of watches) await watch.close()
    rmSync(folder, { recursive: true, force: true })
  })

  const load = async () => {
    loads++
    const text = await readFile(file, 'utf8')
    if (text.includes('bad')) throw new Error(`cannot use "${text}"`)
    return text
  }
  const start = async (path = file) => {
    const watch = await HostsWatch.start({
      path,
      load,
      apply: (text) => void applied.push(text),
      onError: (error) => void errors.push((error as Error).message),
      intervalMs: INTERVAL_MS,
    })
    watches.push(watch)
    return watch
  }
  const until = (state: () => boolean) =>
    pollUntil('the watch', { timeoutMs: 5000, intervalMs: 5 }, async () => state() || undefined)
  /** Long enough for several looks to have been made. */
  const looks = async () => {
    const before = performance.now()
    await until(() => performance.now() - before > 6 * INTERVAL_MS)
  }

  it('is applied at first, and whenever its content changes', async () => {
    await start()
    expect(applied).toEqual(['one'])
    writeFileSync(file, 'zwei 二')
    await until(() => applied.length === 2)
    expect(applied).toEqual(['one', 'zwei 二'])
    expect(errors).toEqual([])
  })

  it('is not loaded again while its content is the same', async () => {
    await start()
    writeFileSync(file, 'one')
    renameSync(file, `${folder}/aside`)
    writeFileSync(`${folder}/new`, 'one')
    renameSync(`${folder}/new`, file)
    await looks()
    expect([loads, applied.length]).toEqual([1, 1])
  })

  it('may be replaced, as editors do, by one that is moved into its place', async () => {
    await start()
    for (const text of ['two', 'three', 'four']) {
      writeFileSync(`${folder}/.swap`, text)
      renameSync(`${folder}/.swap`, file)
      await until(() => applied.at(-1) === text)
    }
    expect(errors).toEqual([])
  })

  it('may be a symbolic link into a folder that is replaced', async () => {
    const link = `${folder}/link.yaml`
    mkdirSync(`${folder}/v1`)
    mkdirSync(`${folder}/v2`)
    writeFileSync(`${folder}/v1/hosts.yaml`, 'one')
    writeFileSync(`${folder}/v2/hosts.yaml`, 'two')
    symlinkSync('v1', `${folder}/current`)
    symlinkSync('current/hosts.yaml', link)
    file = link
    await start(link)
    symlinkSync('v2', `${folder}/next`)
    renameSync(`${folder}/next`, `${folder}/current`)
    await until(() => applied.at(-1) === 'two')
  })

  it('keeps the old state when it is bad, says why once, and goes on when it is mended', async () => {
    await start()
    writeFileSync(file, 'bad 坏')
    await until(() => errors.length === 1)
    await looks()
    expect(errors).toEqual(['cannot use "bad 坏"'])
    expect(applied).toEqual(['one'])
    writeFileSync(file, 'three')
    await until(() => applied.length === 2)
    expect(applied).toEqual(['one', 'three'])
  })

  it('that is put back as it was before it went bad is applied again', async () => {
    await start()
    writeFileSync(file, 'bad')
    await until(() => errors.length === 1)
    writeFileSync(file, 'one')
    await until(() => applied.length === 2)
  })

  it('that vanishes is a bad one', async () => {
    await start()
    unlinkSync(file)
    await until(() => errors.length === 1)
    await looks()
    expect(errors).toEqual([expect.stringContaining('ENOENT')])
    writeFileSync(file, 'back')
    await until(() => applied.at(-1) === 'back')
  })

  it('what applying throws is reported as well', async () => {
    const watch = await HostsWatch.start({
      path: file,
      load,
      apply: (text) => {
        if (text === 'two') throw new Error('two hosts "x"')
      },
      onError: (error) => void errors.push((error as Error).message),
      intervalMs: INTERVAL_MS,
    })
    watches.push(watch)
    writeFileSync(file, 'two')
    await until(() => errors.length === 1)
    expect(errors).toEqual(['two hosts "x"'])
  })

  it('a bad one cannot be started with', async () => {
    writeFileSync(file, 'bad')
    await expect(start()).rejects.toThrow('cannot use')
  })

  it('nothing is applied after the end', async () => {
    const gate = Promise.withResolvers<string>()
    let loading = 0
    const watch = await HostsWatch.start({
      path: file,
      load: () => (loading++ === 0 ? 'one' : gate.promise),
      apply: (text) => void applied.push(text),
      onError: (error) => void errors.push((error as Error).message),
      intervalMs: INTERVAL_MS,
    })
    watches.push(watch)
    writeFileSync(file, 'two')
    await until(() => loading === 2)
    const closing = watch.close()
    gate.resolve('two')
    await closing
    writeFileSync(file, 'three')
    await looks()
    expect([applied, errors, loading]).toEqual([['one'], [], 2])
    await watch.close()
  })

  it.each(['load', 'apply', 'onError'] as const)('may be closed from within %s', async (place) => {
    let closing: Promise<void> | undefined
    let watch: HostsWatch<string> | undefined
    const at = (here: string) => (here === place && watch ? (closing = watch.close()) : undefined)
    watch = await HostsWatch.start({
      path: file,
      load: async () => {
        await at('load')
        return load()
      },
      apply: async (text) => {
        await at('apply')
        applied.push(text)
      },
      onError: (error) => {
        errors.push((error as Error).message)
        void at('onError')
      },
      intervalMs: INTERVAL_MS,
    })
    watches.push(watch)
    writeFileSync(file, place === 'onError' ? 'bad' : 'two')
    await until(() => closing !== undefined)
    await closing
    // From outside, what is under way is waited for.
    await watch.close()
    const after = { load: ['one'], apply: ['one', 'two'], onError: ['one'] }
    expect([applied, errors.length]).toEqual([after[place], place === 'onError' ? 1 : 0])
    writeFileSync(file, 'three')
    await looks()
    expect(applied).toEqual(after[place])
  })

  it('closed by what began in an earlier look, waits for the present one', async () => {
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
    let later: Promise<void> | undefined
    let applying = ''
    const watch = await HostsWatch.start({
      path: file,
      load,
      apply: async (text) => {
        applying = text
        if (text === 'two') later = (gates[0] as (typeof gates)[0]).promise.then(() => watch.close())
        if (text === 'three') await gates[1]?.promise
        applied.push(text)
      },
      onError: (error) => void errors.push((error as Error).message),
      intervalMs: INTERVAL_MS,
    })
    watches.push(watch)
    writeFileSync(file, 'two')
    await until(() => applied.length === 2)
    writeFileSync(file, 'three')
    await until(() => applying === 'three')
    let closed = false
    gates[0]?.resolve()
    void later?.then(() => (closed = true))
    await looks()
    expect(closed).toBe(false)
    gates[1]?.resolve()
    await later
    expect(applied).toEqual(['one', 'two', 'three'])
  })

  it('goes on after a handler of errors that throws', async () => {
    const watch = await HostsWatch.start({
      path: file,
      load,
      apply: (text) => void applied.push(text),
      onError: (error) => {
        errors.push((error as Error).message)
        throw new Error('a bad handler')
      },
      intervalMs: INTERVAL_MS,
    })
    watches.push(watch)
    writeFileSync(file, 'bad')
    await until(() => errors.length === 1)
    writeFileSync(file, 'good')
    await until(() => applied.length === 2)
    expect(applied).toEqual(['one', 'good'])
  })
})
