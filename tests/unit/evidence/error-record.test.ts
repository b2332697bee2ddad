import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AtpError, Secret, assertionError, connectError, timeoutError } from '../../../framework/core/index.ts'
import {
  codeFrame,
  fitWidth,
  padWidth,
  redactDeep,
  textWidth,
  toErrorRecord,
} from '../../../framework/evidence/index.ts'

describe('toErrorRecord', () => {
  it('keeps the framework fields and follows causes', () => {
    const cause = connectError('ATP_HOST_DOWN', 'lab-b refused the connection')
    const record = toErrorRecord(
      timeoutError('ATP_X_TIMEOUT', 'waited', { cause, context: { host: 'lab-b' }, remedy: 'start it' }),
    )
    expect(record).toMatchObject({
      code: 'ATP_X_TIMEOUT',
      branch: 'timeout',
      verdict: 'infrastructure',
      context: { host: 'lab-b' },
      message: 'waited\n  → start it',
    })
    expect(record.cause).toMatchObject({ code: 'ATP_HOST_DOWN', branch: 'connect' })
  })

  it('reads an error that crossed a process border as a plain object', () => {
    const { name, message, stack, code, branch, verdict, context } = assertionError(
      'ATP_DELIVERY',
      'two keys were lost',
    )
    expect(toErrorRecord({ name, message, stack, code, branch, verdict, context })).toMatchObject({
      code: 'ATP_DELIVERY',
      branch: 'assertion',
      verdict: 'product',
    })
  })

  it('calls a failed expect the product’s fault and any other foreign error the spec’s', () => {
    try {
      expect('你好').toBe('您好')
    } catch (error) {
      expect(toErrorRecord(error)).toMatchObject({ verdict: 'product', expected: '您好', actual: '你好' })
    }
    expect(toErrorRecord(new TypeError('x is undefined')).verdict).toBe('spec')
    expect(toErrorRecord('just text')).toEqual({ message: 'just text', verdict: 'spec' })
  })

  it('takes the first frame inside the project and shows its source', () => {
    const root = mkdtempSync(join(tmpdir(), 'atp-frame-'))
    writeFileSync(join(root, 'a.spec.ts'), 'one\n\tconst 名 = fail()\nthree\n')
    const record = toErrorRecord(
      {
        message: 'no',
        stacks: [
          { file: '/elsewhere/x.ts', line: 1, column: 1 },
          { file: join(root, 'a.spec.ts'), line: 2, column: 12 },
        ],
      },
      { root },
    )
    expect(record.location).toEqual({ file: 'a.spec.ts', line: 2, column: 12 })
    expect(record.codeFrame).toBe('  1 | one\n> 2 | \tconst 名 = fail()\n    | \t           ^\n  3 | three\n  4 |')
  })

  it('prefers the place an error names itself, as those about YAML do', () => {
    const root = mkdtempSync(join(tmpdir(), 'atp-frame-'))
    writeFileSync(join(root, 's.spec.yaml'), 'steps:\n  - acton: x\n')
    const error = new AtpError('config', 'ATP_SCENARIO_STEP', 'no step "acton"', {
      context: { file: 's.spec.yaml', line: 2, column: 5 },
    })
    expect(toErrorRecord(error, { root })).toMatchObject({
      location: { file: 's.spec.yaml', line: 2 },
      codeFrame: expect.stringContaining('> 2 |   - acton: x'),
    })
  })

  it('finds the place in a plain stack', () => {
    const record = toErrorRecord(new Error('here'), { root: process.cwd() })
    expect(record.location?.file).toBe('tests/unit/evidence/error-record.test.ts')
  })

  it('redacts secrets, removes colours, survives cycles', () => {
    const secret = new Secret('desk', 'Swordf1sh!')
    const context: Record<string, unknown> = { secret, raw: 'Swordf1sh!', bytes: new Uint8Array(3), big: 7n }
    context['self'] = context
    const record = toErrorRecord(
      new AtpError('remote', 'ATP_LOGIN', '\u001b[31mSwordf1sh!\u001b[0m refused', { context }),
    )
    expect(record.message).toBe('••• refused')
    expect(JSON.stringify(record)).not.toContain('Swordf1sh!')
    expect(record.context).toMatchObject({ raw: '•••', bytes: '[3 bytes]', big: '7', self: '[circular]' })
  })

  it('never throws and always gives JSON', () => {
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(() => JSON.stringify(toErrorRecord(value))).not.toThrow()
      }),
    )
  })
})

describe('redactDeep', () => {
  it('leaves JSON values as they are', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        expect(JSON.stringify(redactDeep({ value }))).toBe(JSON.stringify({ value }))
      }),
    )
  })
})

describe('text width', () => {
  it('counts Chinese, Korean, full-width and emoji as two cells, combining marks as none', () => {
    expect(['abc', '输入', '한글', 'ＡＢ', '、。', '🙂', 'é', '‘’'].map(textWidth)).toEqual([3, 4, 4, 4, 4, 2, 1, 2])
  })

  it('cuts and fills to the cell', () => {
    expect(fitWidth('输入法测试', 7)).toBe('输入法…')
    expect(padWidth('输入', 6)).toBe('输入  ')
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.nat(40), (text, width) => {
        expect(textWidth(fitWidth(text, width))).toBeLessThanOrEqual(width)
      }),
    )
  })
})

describe('codeFrame', () => {
  it('answers nothing for a line outside the source', () => {
    expect(codeFrame('one', 5, 1)).toBeUndefined()
  })
})
