import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { project } from './project.ts'

const SEEDS = join(import.meta.dirname, '../../specs/seeds')
const flat = readFileSync(join(SEEDS, 'flat.spec.yaml'), 'utf8')
const dotted = readFileSync(join(SEEDS, 'dotted.spec.yaml'), 'utf8')

describe('the original scenarios', () => {
  it('run verbatim on real VMs', async () => {
    const home = project({ 'specs/flat.spec.yaml': flat, 'specs/dotted.spec.yaml': dotted })
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    const [dottedReport, flatReport] = home.report().reports.toSorted((a, b) => a.file.localeCompare(b.file))
    // Hello World is eleven characters, two of them with Shift; the dotted one types "a" before.
    expect(flatReport?.vms).toMatchObject([{ name: 'vm-001' }])
    expect(flatReport?.deliveries).toMatchObject([{ outcome: 'delivered', sent: 26, seen: 26, lost: 0 }])
    expect(flatReport?.steps.at(-1)).toMatchObject({ status: 'Success', output: expect.stringMatching(/agent/) })
    expect(dottedReport?.deliveries).toMatchObject([
      { verify: 'require', outcome: 'delivered', sent: 2, seen: 2 },
      { verify: 'require', outcome: 'delivered', sent: 26, seen: 26 },
    ])
    const [key, text] = dottedReport?.deliveries ?? []
    // The first input that an observer sees has its latency apart.
    expect(key).toMatchObject({ warmupMs: [expect.any(Number)] })
    expect(text?.latency).toMatchObject({ level: 'kernel', samples: 13, boundMs: expect.any(Number) })
    expect(text?.latency?.p50Ms).toBeGreaterThan(0)
  })

  it('run with another text and another VM', async () => {
    const changed = flat.replaceAll('vm-001', 'vm-007').replace('Hello World', 'atp {}~|@#% 42')
    const home = project({ 'specs/flat.spec.yaml': changed })
    const outcome = await home.run(['test'])
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    expect(home.report().reports[0]).toMatchObject({
      vms: [{ name: 'vm-007' }],
      deliveries: [{ outcome: 'delivered', lost: 0 }],
    })
  })
})
