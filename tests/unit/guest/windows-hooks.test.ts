import { describe, expect, it } from 'vitest'
import type { SeenInput } from '../../../guest/core/index.ts'
import { HookLines } from '../../../guest/agent/windows/hook-lines.ts'
import { HOOK_PROGRAM } from '../../../guest/agent/windows/hook-program.ts'
import { SharedSource } from '../../../guest/agent/input/shared-source.ts'
import { WindowsHooks } from '../../../guest/agent/windows/hooks.ts'

const inputs = (...lines: string[]) => {
  const seen: string[] = []
  const reader = new HookLines((device, { kind, code, value, guestNs }) => {
    seen.push(`${device} ${kind} ${code} ${value} ${guestNs}`)
  })
  for (const line of lines) reader.push(line)
  return seen
}

describe('recorded lines of the hook program', () => {
  it('are keys by scan code, with the autorepeat that evdev would report', () => {
    expect(
      inputs(
        'key 1e 1 100',
        'key 1e 1 200',
        'key 1e 0 300',
        'key 1e 1 400',
        'key e01d 1 500',
        'key e04b 0 600',
        'key 7f 1 700',
      ),
    ).toEqual([
      'keyboard key 30 1 100',
      'keyboard key 30 2 200',
      'keyboard key 30 0 300',
      'keyboard key 30 1 400',
      'keyboard key 97 1 500',
      'keyboard key 105 0 600',
      'keyboard key 0 1 700',
    ])
  })

  it('are Pause and Num Lock, which Windows reports with each other’s prefix', () => {
    expect(inputs('key 45 1 1', 'key e045 1 2')).toEqual(['keyboard key 119 1 1', 'keyboard key 69 1 2'])
  })

  it('are the right Shift with its false prefix, and AltGr without the Control that Windows adds', () => {
    expect(inputs('key e036 1 1', 'key 21d 1 2', 'key e038 1 3')).toEqual([
      'keyboard key 54 1 1',
      'keyboard key 100 1 3',
    ])
  })

  it('are positions in units of the tablet, without what did not change', () => {
    expect(
      inputs('move 0 0 1024 768 1', 'move 1023 0 1024 768 2', 'move 1023 767 1024 768 3', 'move -5 900 1024 768 4'),
    ).toEqual(['mouse abs 0 0 1', 'mouse abs 1 0 1', 'mouse abs 0 32767 2', 'mouse abs 1 32767 3', 'mouse abs 0 0 4'])
  })

  it('lie within the stated tolerance of the tablet’s own positions', () => {
    for (const width of [600, 1024, 1920, 3840]) {
      for (let position = 0; position <= 32_767; position += 7) {
        // What Windows makes of it: whole pixels, rounded either way.
        for (const round of [Math.floor, Math.ceil]) {
          const pixel = round((position * (width - 1)) / 32_767)
          const value = Number(inputs(`move ${pixel} 0 ${width} 768 1`)[0]?.split(' ')[3])
          expect(Math.abs(value - position)).toBeLessThanOrEqual(WindowsHooks.TOLERANCE)
        }
      }
    }
  })

  it('are buttons and whole notches of the wheel', () => {
    expect(
      inputs('button left 1 1', 'button x2 0 2', 'wheel 120 3', 'wheel -60 4', 'wheel -60 5', 'hwheel 240 6'),
    ).toEqual(['mouse key 272 1 1', 'mouse key 276 0 2', 'mouse rel 8 1 3', 'mouse rel 8 -1 5', 'mouse rel 6 2 6'])
  })

  it('that say nothing known are ignored', () => {
    expect(
      inputs('', 'key 1e 1', 'key 1e 1 x', 'button 1', 'move a b c d 1', 'wheel  1', 'something 1 2 3', 'key'),
    ).toEqual([])
  })
})

describe('the hook program', () => {
  const NODE = process.execPath
  const printing = (text: string): [string, ...string[]] => [
    NODE,
    '-e',
    `process.stdout.write(${JSON.stringify(text)}); setInterval(() => process.kill(Number(process.env.ATP_AGENT_PID), 0), 100)`,
  ]
  const watch = async (hooks: WindowsHooks) => {
    const seen: SeenInput[] = []
    const gaps: string[] = []
    await hooks.keyboard.start({ onInput: (input) => seen.push(input), onGap: (reason) => gaps.push(reason) })
    return { seen, gaps }
  }

  it('is watched once it says that its hooks are set', async () => {
    const hooks = new WindowsHooks(printing('ready\nkey 1e 1 5\n'))
    try {
      const { seen } = await watch(hooks)
      await expect.poll(() => seen).toEqual([{ kind: 'key', code: 30, value: 1, guestNs: 5n }])
    } finally {
      hooks.close()
    }
  })

  it('that does not begin says why; one that ends is a gap', async () => {
    const failing = new WindowsHooks([NODE, '-e', 'console.error("no hooks here"); process.exit(3)'])
    await expect(watch(failing)).rejects.toMatchObject({
      code: 'ATP_VERIFIER_DEVICE',
      message: expect.stringContaining('no hooks here') as string,
    })
    const ending = new WindowsHooks([NODE, '-e', 'console.log("ready"); setTimeout(() => process.exit(1), 50)'])
    const { gaps } = await watch(ending)
    await expect.poll(() => gaps).toEqual([expect.stringContaining('the input hooks ended')])
  })

  it('that ended is begun again for who watches next', async () => {
    const program = 'console.log("ready"); console.log("key 1e 1 5"); setTimeout(() => process.exit(1), 50)'
    const hooks = new WindowsHooks([NODE, '-e', program])
    const source = new SharedSource('keyboard', hooks.keyboard)
    const heard: string[] = []
    const sink = { onInput: () => void heard.push('input'), onGap: () => void heard.push('gap') }
    await source.watch(sink)
    await expect.poll(() => heard.at(-1)).toBe('gap')
    await source.watch({ ...sink })
    await expect.poll(() => heard.filter((what) => what === 'gap').length).toBeGreaterThan(1)
  })

  it('fits into a command line', () => {
    // 32,767 characters, of UTF-16 in base64.
    expect(Buffer.from(HOOK_PROGRAM, 'utf16le').toString('base64').length).toBeLessThan(32_000)
  })
})
