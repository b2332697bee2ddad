import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/index.ts'
import { loadPlugin } from '../../../guest/agent/plugins.ts'
import { CommandVerifier } from '../../../guest/agent/verifiers/command.ts'
import {
  KeyboardVerifier,
  MouseVerifier,
  type InputSink,
  type InputSource,
  type Verifier,
} from '../../../guest/core/index.ts'
import { parseEvent } from '../../../guest/protocol/index.ts'

class Scripted implements InputSource {
  readonly device = 'mouse'
  readonly sinks = new Set<InputSink>()
  async watch(sink: InputSink) {
    this.sinks.add(sink)
    return () => void this.sinks.delete(sink)
  }
  see(kind: 'key' | 'abs' | 'rel', code: number, value: number): void {
    for (const sink of this.sinks) sink.onInput({ kind, code, value, guestNs: 5n })
  }
}

const event = (fields: object) => parseEvent({ v: 1, timestamp: 0, ...fields }, () => 'id')
const ask = (verifier: Verifier, fields: object, signal = new AbortController().signal) =>
  verifier.verify(event({ type: verifier.verifierType, ...fields }), signal)
/** Begins, lets the source speak once it is watched, and tells whether that was enough. */
async function seenBy(verifier: Verifier, source: Scripted, fields: object, speak: () => void): Promise<unknown> {
  const ending = new AbortController()
  const before = source.sinks.size
  const answer = ask(verifier, fields, ending.signal).then(
    ({ verified }) => verified,
    (error: unknown) => (isAtpError(error) ? error.code : error),
  )
  await expect.poll(() => source.sinks.size, { interval: 1 }).toBeGreaterThan(before)
  speak()
  // All that follows from an input happens at once.
  await new Promise((resolve) => setImmediate(resolve))
  ending.abort()
  return answer
}

describe('the keyboard verifier', () => {
  const seen = (fields: object, ...values: (readonly [code: number, value: number])[]) => {
    const source = new Scripted()
    return seenBy(new KeyboardVerifier(source), source, fields, () => {
      for (const [code, value] of values) source.see('key', code, value)
    })
  }

  it('knows keys by every name, and sees only that key', async () => {
    expect(await seen({ key: 'ret' }, [28, 1])).toBe(true)
    expect(await seen({ key: 'KEY_ENTER' }, [28, 1])).toBe(true)
    expect(await seen({ key: 'Enter', action: 'keydown' }, [28, 1])).toBe(true)
    expect(await seen({ key: 'a' }, [48, 1], [30, 2], [30, 0])).toBe('ATP_INTERRUPTED')
    expect(await seen({ key: 'a', action: 'keyup' }, [30, 1], [30, 0])).toBe(true)
    expect(await seen({ key: 'a', action: 'press' }, [30, 1], [48, 1], [30, 0])).toBe(true)
    expect(await seen({ key: 'a', action: 'press' }, [30, 1])).toBe('ATP_INTERRUPTED')
  })

  it('refuses what is no key or action', async () => {
    const verifier = new KeyboardVerifier(new Scripted())
    await expect(ask(verifier, { key: 'nokey' })).rejects.toMatchObject({ code: 'ATP_KEY_UNKNOWN' })
    await expect(ask(verifier, {})).rejects.toMatchObject({ code: 'ATP_VERIFIER_EVENT' })
    await expect(ask(verifier, { key: 'a', action: 'tickle' })).rejects.toMatchObject({ code: 'ATP_VERIFIER_EVENT' })
  })

  it('does not call it unseen when it could not see', async () => {
    const source = new Scripted()
    const answer = seenBy(new KeyboardVerifier(source), source, { key: 'a' }, () => {
      for (const sink of source.sinks) sink.onGap('blind')
    })
    expect(await answer).toBe('ATP_VERIFIER_DEVICE')
  })

  it('leaves nobody watching when it is over before it watches', async () => {
    const source = new Scripted()
    const watched = Promise.withResolvers<void>()
    const late: InputSource = {
      device: 'keyboard',
      async watch(sink) {
        const stop = await source.watch(sink)
        sink.onGap('blind')
        await watched.promise
        return stop
      },
    }
    await expect(ask(new KeyboardVerifier(late), { key: 'a' })).rejects.toMatchObject({ code: 'ATP_VERIFIER_DEVICE' })
    watched.resolve()
    await expect.poll(() => source.sinks.size).toBe(0)
  })
})

describe('the mouse verifier', () => {
  const source = new Scripted()
  const verifier = new MouseVerifier(source)
  const seen = (fields: object, ...inputs: (readonly ['key' | 'abs' | 'rel', number, number])[]) =>
    seenBy(verifier, source, fields, () => inputs.forEach((input) => source.see(...input)))

  it('sees positions, also where one axis stays as it was', async () => {
    expect(await seen({ action: 'move', x: 100, y: 200 }, ['abs', 0, 100], ['abs', 1, 200])).toBe(true)
    expect(await seen({ action: 'move', x: 101, y: 200 }, ['abs', 0, 101])).toBe(true)
    expect(await seen({ action: 'move', x: 102, y: 200 }, ['abs', 0, 103])).toBe('ATP_INTERRUPTED')
    const pixels = { screen_width: 1024, screen_height: 768 }
    expect(await seen({ action: 'move', x: 1023, y: 0, metadata: pixels }, ['abs', 0, 32_740], ['abs', 1, 3])).toBe(
      true,
    )
    expect(await seen({ action: 'move', x: 512, y: 0, metadata: pixels }, ['abs', 0, 16_300])).toBe('ATP_INTERRUPTED')
  })

  it('sees motion, buttons and the wheel', async () => {
    expect(await seen({ action: 'move_by', x: 5, y: -3 }, ['rel', 0, 2], ['rel', 1, -3], ['rel', 0, 3])).toBe(true)
    expect(await seen({ action: 'move_by', x: 5, y: 0 }, ['rel', 0, 6])).toBe('ATP_INTERRUPTED')
    expect(await seen({ action: 'click' }, ['key', 0x110, 1], ['key', 0x110, 0])).toBe(true)
    expect(await seen({ action: 'click', button: 'right' }, ['key', 0x110, 1], ['key', 0x110, 0])).toBe(
      'ATP_INTERRUPTED',
    )
    expect(await seen({ action: 'double_click' }, ['key', 0x110, 1], ['key', 0x110, 0])).toBe('ATP_INTERRUPTED')
    expect(await seen({ action: 'down', button: 'middle' }, ['key', 0x112, 1])).toBe(true)
    expect(await seen({ action: 'up', button: 'side' }, ['key', 0x113, 0])).toBe(true)
    expect(await seen({ action: 'wheel', y: -2 }, ['rel', 8, -1], ['rel', 8, -1])).toBe(true)
  })

  it('refuses what is no action', async () => {
    for (const fields of [
      { action: 'jump' },
      { action: 'move', x: 1 },
      { action: 'click', button: 'red' },
      { action: 'move', x: 1, y: 1, metadata: { screen_width: 'wide' } },
    ]) {
      await expect(ask(verifier, fields)).rejects.toMatchObject({ code: 'ATP_VERIFIER_EVENT' })
    }
  })
})

describe('the command verifier', () => {
  const verifier = new CommandVerifier()
  const run = (metadata: object, signal?: AbortSignal) => ask(verifier, { metadata }, signal)

  it('compares exit code and output', async () => {
    expect(await run({ command: 'echo', args: ['你好', '$HOME;'], expected_stdout_contains: '你好 $HOME;' })).toEqual({
      verified: true,
      details: { exit_code: 0, signal: null, stdout: '你好 $HOME;\n', stderr: '', truncated: false },
    })
    expect(await run({ command: 'false' })).toMatchObject({ verified: false, details: { exit_code: 1 } })
    expect(await run({ command: 'false', expected_exit_code: 1 })).toMatchObject({ verified: true })
    expect(await run({ command: 'echo', expected_stderr_contains: 'x' })).toMatchObject({
      verified: false,
      details: { error: 'stderr does not contain what was expected' },
    })
  })

  it('keeps only so much output', async () => {
    const { details } = await run({ command: 'head', args: ['-c', '1000000', '/dev/zero'] })
    expect((details['stdout'] as string).length).toBe(262_144)
    expect(details['truncated']).toBe(true)
  })

  it('kills what the command started when the time is over', async () => {
    const ending = new AbortController()
    const mark = `3${process.pid}.25`
    const answer = run({ command: 'sh', args: ['-c', `sleep ${mark} & sleep ${mark}; true`] }, ending.signal)
    const sleepers = async () =>
      String(
        (await ask(verifier, { metadata: { command: 'pgrep', args: ['-fx', `sleep ${mark}`] } })).details['stdout'],
      )
    await expect.poll(sleepers).toMatch(/^\d+\n\d+\n$/)
    ending.abort()
    expect(await answer).toMatchObject({ verified: false, details: { signal: 'SIGKILL' } })
    await expect.poll(sleepers).toBe('')
  })

  it('refuses what is no command', async () => {
    for (const metadata of [
      {},
      { command: '/no/such/program' },
      { command: 'ls', args: 'x' },
      { command: 'ls', expected_exit_code: '0' },
      { command: 'ls', expected_stdout: 'not a name of anything' },
    ]) {
      await expect(run(metadata)).rejects.toMatchObject({ code: 'ATP_VERIFIER_EVENT' })
    }
  })
})

describe('a plug-in', () => {
  it('brings a verifier, or is refused', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'atp-plugin-'))
    try {
      const write = (name: string, text: string) => {
        writeFileSync(join(folder, name), text)
        return join(folder, name)
      }
      const made = await loadPlugin(
        write(
          'good.mjs',
          `export default () => ({ verifierType: 'mine', verify: async () => ({ verified: true, details: {} }) })`,
        ),
      )
      expect(made.verifierType).toBe('mine')
      for (const [name, text] of [
        ['none.mjs', 'export const x = 1'],
        ['broken.mjs', 'export default {'],
        ['throws.mjs', 'export default () => { throw new Error("no") }'],
        ['reserved.mjs', 'export default { verifierType: "hello", verify() {} }'],
        ['nameless.mjs', 'export default { verify() {} }'],
      ] as const) {
        await expect(loadPlugin(write(name, text)), name).rejects.toMatchObject({ code: 'ATP_VERIFIER_PLUGIN' })
      }
      await expect(loadPlugin(join(folder, 'absent.mjs'))).rejects.toMatchObject({ code: 'ATP_VERIFIER_PLUGIN' })
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
