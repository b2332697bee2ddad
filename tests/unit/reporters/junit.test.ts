import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DOMParser, type Document, type Element } from '@xmldom/xmldom'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { addRedaction, isAtpError } from '../../../framework/core/index.ts'
import { JunitReporter } from '../../../reporters/junit.ts'
import { xmlDocument } from '../../../reporters/xml.ts'
import { PASSWORD, recordedRun } from './recorded-run.ts'

addRedaction(PASSWORD)
const directory = mkdtempSync(join(tmpdir(), 'atp-junit-'))

function parse(xml: string): Document {
  const problems: string[] = []
  const document = new DOMParser({
    onError: (level, message) => level !== 'warning' && problems.push(message),
  }).parseFromString(xml, 'text/xml')
  expect(problems).toEqual([])
  return document
}

async function report(): Promise<string> {
  const outputFile = join(directory, 'deep', 'junit.xml')
  const reporter = new JunitReporter({ outputFile })
  for (const event of recordedRun(directory)) reporter.onEvent(event)
  await reporter.close()
  return readFileSync(outputFile, 'utf8')
}

const all = (node: Document | Element, name: string): Element[] => Array.from(node.getElementsByTagName(name))
function testcase(document: Document, name: string): { element: Element; properties: Record<string, string | null> } {
  const element = all(document, 'testcase').find((candidate) => candidate.getAttribute('name') === name)
  if (!element) throw new Error(`no testcase ${name}`)
  const properties = Object.fromEntries(
    all(element, 'property').map((property) => [property.getAttribute('name'), property.getAttribute('value')]),
  )
  return { element, properties }
}

describe('JunitReporter', () => {
  it('writes well-formed XML whose counts agree with its cases', async () => {
    const document = parse(await report())
    const root = document.documentElement!
    expect(['tests', 'failures', 'errors', 'skipped'].map((name) => Number(root.getAttribute(name)))).toEqual([
      9, 1, 3, 2,
    ])
    expect(all(document, 'testcase')).toHaveLength(9)
    expect(all(document, 'failure')).toHaveLength(1)
    expect(all(document, 'error')).toHaveLength(3)
    expect(all(document, 'testsuite').map((suite) => suite.getAttribute('name'))).toEqual([
      'specs/input/text.spec.ts',
      'specs/login.spec.yaml',
      'specs/stock.spec.ts',
      'outside of tests',
    ])
  })

  it('shows id, verdict, VM, unverified input and latency as properties', async () => {
    const document = parse(await report())
    expect(testcase(document, '中文输入法 <IME> & "引号"').properties).toMatchObject({
      id: 'TC-1042',
      verdict: 'product',
      vm: 'vm-002@lab-b',
      attempts: '2',
      'key-to-guest.kernel.qmp-virtio.p95': '31.4',
    })
    expect(testcase(document, '登录').properties).toMatchObject({ unverified: '1', flaky: 'true' })
    expect(testcase(document, '文本完整到达 qmp').properties['latency']).toContain('± 0.35 ms')
  })

  it('writes earlier attempts as flaky on a pass and as rerun on a fail', async () => {
    const document = parse(await report())
    const flaky = testcase(document, '登录').element
    expect(all(flaky, 'flakyError')[0]!.getAttribute('type')).toBe('ATP_QGA_TIMEOUT')
    expect(all(flaky, 'failure')).toHaveLength(0)
    const failed = testcase(document, '中文输入法 <IME> & "引号"').element
    expect(all(failed, 'failure')[0]!.textContent).toContain("toContain('你好, 世界')")
    expect(all(failed, 'rerunFailure')).toHaveLength(1)
  })

  it('says why a test was skipped or never ran, and names evidence files', async () => {
    const document = parse(await report())
    expect(all(document, 'skipped').map((skipped) => skipped.getAttribute('message'))).toEqual([
      'needs a Windows guest; the lab has none',
      'bail: 3 tests had failed',
    ])
    expect(all(testcase(document, '中文输入法 <IME> & "引号"').element, 'system-out')[0]!.textContent).toContain(
      `[[ATTACHMENT|${join(directory, 'screen.png')}]]`,
    )
  })

  it('holds no secret', async () => {
    expect(await report()).not.toContain(PASSWORD)
  })

  it('calls a test that never ended an error, not a pass', async () => {
    const outputFile = join(directory, 'killed.xml')
    const reporter = new JunitReporter({ outputFile })
    for (const event of recordedRun(directory).slice(0, 8)) reporter.onEvent(event)
    await reporter.close()
    expect(all(parse(readFileSync(outputFile, 'utf8')), 'error')[0]!.getAttribute('message')).toBe(
      'the run ended before this test did',
    )
  })

  it('rejects when the file cannot be written', async () => {
    const file = join(directory, 'file')
    writeFileSync(file, '')
    const error = await new JunitReporter({ outputFile: join(file, 'junit.xml') })
      .close()
      .catch((caught: unknown) => caught)
    expect(isAtpError(error, 'ATP_REPORT_WRITE')).toBe(true)
  })
})

describe('xmlDocument', () => {
  it('carries any text through, and replaces only what XML cannot hold', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const root = parse(xmlDocument({ name: 'a', attributes: { b: text }, children: [text] })).documentElement!
        const kept = text.replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, (char) =>
          char < ' ' ? String.fromCodePoint(0x2400 + char.charCodeAt(0)) : '□',
        )
        expect(root.getAttribute('b')).toBe(kept)
        expect(root.textContent).toBe(kept)
      }),
    )
  })
})
