/** Many tests and several runs on one lab. */
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs'
import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { labVms, vmsBeyond, within } from './processes.ts'
import { project, spec, type Project } from './project.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const HOLD_MS = 300
/** The limit of a test counts from its body on: waiting for a VM takes longer. */
const BODY_MS = 1500
/** Tests that hold a VM for a moment and write down from when to when. */
const holding = (count: number, options = '') =>
  spec(`import { appendFileSync } from 'node:fs'
${options}
test.for([${Array.from({ length: count }, (_, index) => index).join(', ')}])('holds %s', { timeout: ${BODY_MS} }, async (_, { vm, guest }) => {
  const from = Date.now()
  await guest.ping()
  await new Promise((end) => setTimeout(end, ${HOLD_MS}))
  appendFileSync('held.txt', JSON.stringify({ name: vm.name, host: vm.host.id, from, to: Date.now() }) + '\\n')
})`)

interface Held {
  name: string
  host: string
  from: number
  to: number
}
const heldIn = (home: Project): Held[] =>
  readFileSync(join(home.dir, 'held.txt'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Held)
/** Pairs that were held at the same time. */
const overlaps = (held: Held[]) =>
  held.flatMap((one, index) =>
    held
      .slice(index + 1)
      .filter((other) => one.from < other.to && other.from < one.to)
      .map((other) => [one, other]),
  )

/** The stock command of Vitest, as an editor or a user would run it. */
function stockVitest(home: Project): Promise<{ code: number | null; output: string }> {
  mkdirSync(join(home.dir, 'node_modules/@ocloudview'), { recursive: true })
  symlinkSync(ROOT, join(home.dir, 'node_modules/@ocloudview/atp'))
  home.write('vitest.config.mjs', `import { atp } from '@ocloudview/atp/vitest'\nexport default { plugins: [atp()] }\n`)
  const {
    VITEST: _,
    VITEST_POOL_ID: _pool,
    VITEST_WORKER_ID: _worker,
    NODE_ENV: _env,
    TEST: _test,
    ...env
  } = process.env
  const child = spawn(process.execPath, [join(ROOT, 'node_modules/vitest/vitest.mjs'), 'run'], {
    cwd: home.dir,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => (output += text))
  return new Promise((done) => child.on('close', (code) => done({ code, output })))
}

describe('the lab shared', () => {
  it('spreads specs over both hosts', async () => {
    const before = labVms()
    const files = Object.fromEntries([1, 2, 3, 4].map((index) => [`specs/${index}.spec.ts`, holding(1)]))
    const home = project(files)
    const running = home.start(['test', '--workers', '4'])
    let most = 0
    const watching = setInterval(() => (most = Math.max(most, vmsBeyond(before).length)), 50)
    const outcome = await running.finished
    clearInterval(watching)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    const held = heldIn(home)
    expect(held).toHaveLength(4)
    expect(new Set(held.map((one) => one.host))).toEqual(new Set(['lab-1', 'lab-2']))
    expect(overlaps(held).filter(([one, other]) => one?.name === other?.name)).toEqual([])
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(4)
    expect(await within(2_000, () => vmsBeyond(before).length === 0)).toBe(true)
  })

  it('never holds more VMs than fit', async ({ skip }) => {
    const before = labVms()
    const home = project(Object.fromEntries([1, 2, 3, 4].map((index) => [`specs/${index}.spec.ts`, holding(1)])), {
      lab: { capacity: 1 },
    })
    const status = JSON.parse((await home.run(['lab', 'status', '--json'])).stdout) as {
      broker: { vms: unknown[] } | null
    }
    skip((status.broker?.vms.length ?? 0) > 0, 'a lab with standbys is up: its broker has another capacity')
    const running = home.start(['test', '--workers', '4'])
    const leased: number[] = []
    const watching = setInterval(() => leased.push(vmsBeyond(before).length), 50)
    const outcome = await running.finished
    clearInterval(watching)
    expect(outcome, outcome.stdout + outcome.stderr).toMatchObject({ code: 0 })
    expect(Math.max(...leased)).toBe(2)
    for (const host of ['lab-1', 'lab-2']) expect(overlaps(heldIn(home).filter((one) => one.host === host))).toEqual([])
  })

  it('never gives one VM to two: two runs and the stock vitest want the same', async () => {
    const wanted = holding(2, `test.override('vmOptions', { domain: 'vm-041' })`)
    const homes = [0, 1, 2].map(() => project({ 'specs/a.spec.ts': wanted }))
    const [first, second, stock] = homes as [Project, Project, Project]
    const [one, two, three] = await Promise.all([first.run(['test']), second.run(['test']), stockVitest(stock)])
    expect(one, one.stdout + one.stderr).toMatchObject({ code: 0 })
    expect(two, two.stdout + two.stderr).toMatchObject({ code: 0 })
    expect(three, three.output).toMatchObject({ code: 0 })
    const held = homes.flatMap(heldIn)
    expect(held.map((each) => each.name)).toEqual(Array(6).fill('vm-041'))
    expect(overlaps(held)).toEqual([])
    expect(
      Math.max(...[...first.report().reports, ...second.report().reports].map((test) => test.wait_ms)),
    ).toBeGreaterThan(BODY_MS)
  })
})
