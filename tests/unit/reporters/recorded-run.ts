import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { encode } from 'fast-png'
import type { DeliveryRecord, ErrorRecord, RunEvent, VmRecord } from '../../../framework/evidence/index.ts'

/** The value the recorded run types as a password. Nothing a reporter writes may contain it. */
export const PASSWORD = 'Gehe1m-口令-9876'

const START = Date.UTC(2026, 10, 20, 9, 30, 0)
const VM_1: VmRecord = { name: 'vm-001', uuid: 'a1', host: 'lab-a', ownership: 'pristine', profile: 'linux-tty' }
const VM_2: VmRecord = { name: 'vm-002', uuid: 'b2', host: 'lab-b', ownership: 'pristine', profile: 'linux-tty' }

export const PRODUCT_ERROR: ErrorRecord = {
  name: 'AssertionError',
  message: "expected '/tmp/note.txt' to contain '你好, 世界' within 5000 ms",
  verdict: 'product',
  stack: "AssertionError: expected '/tmp/note.txt' …\n    at specs/input/text.spec.ts:14:31",
  location: { file: 'specs/input/text.spec.ts', line: 14, column: 31 },
  codeFrame:
    "  13 |     await vm.keyboard.type('你好, 世界')\n" +
    "> 14 |     await expect(vm.guest.file('/tmp/note.txt')).toContain('你好, 世界')\n" +
    '     |                                                  ^\n' +
    '  15 |   })',
  expected: '你好, 世界',
  actual: '你好, 世',
}
const INFRASTRUCTURE_ERROR: ErrorRecord = {
  name: 'AtpError',
  code: 'ATP_QGA_TIMEOUT',
  branch: 'timeout',
  message:
    'the guest agent of vm-002 on lab-b did not answer within 10000 ms\n  → look at the serial log: the guest may not have booted',
  verdict: 'infrastructure',
  context: { host: 'lab-b', vm: 'vm-002', timeoutMs: 10_000 },
  stack: 'AtpError: the guest agent of vm-002 …\n    at framework/protocols/qga/client.ts:88:11',
  cause: { name: 'Error', message: 'socket \u001b[31mclosed\u001b[0m by <peer> & gone]]>', verdict: 'spec' },
}

const delivered: DeliveryRecord = {
  action: 'keyboard.type',
  input: 'Hello',
  path: { via: 'qmp', device: 'ps2' },
  verify: 'observe',
  outcome: 'delivered',
  sent: 12,
  seen: 12,
  lost: 0,
  duplicated: 0,
  reordered: 0,
  stuck: [],
  differences: [],
  durationMs: 48,
  latency: {
    level: 'kernel',
    samples: 5,
    minMs: 1.8,
    p50Ms: 2.6,
    p95Ms: 4.1,
    p99Ms: 4.1,
    maxMs: 4.1,
    boundMs: 0.35,
    loop: { p50Ms: 3.4, p95Ms: 5.2, maxMs: 5.2 },
  },
  latenciesMs: [1.8, 2.2, 2.6, 3.3, 4.1],
}
const damaged: DeliveryRecord = {
  ...delivered,
  input: '你好, 世界',
  path: { via: 'qmp', device: 'virtio' },
  verify: 'require',
  outcome: 'damaged',
  sent: 14,
  seen: 12,
  lost: 2,
  differences: ['sent KEY_J down, saw nothing', 'sent KEY_J up, saw nothing'],
  latency: { level: 'kernel', samples: 6, minMs: 2, p50Ms: 3, p95Ms: 31.4, p99Ms: 31.4, maxMs: 31.4, boundMs: 0.4 },
  latenciesMs: [2, 2.5, 3, 3.5, 9.9, 31.4],
}
const unverified: DeliveryRecord = {
  ...delivered,
  action: 'mouse.click',
  input: 'left at 512,384',
  outcome: 'unverified',
  reason: 'the profile has no observer',
  sent: 4,
  seen: 0,
  latency: undefined,
  latenciesMs: undefined,
}

/**
 * The events of a realistic run in the order a runner sends them: Chinese names, a flaky test, a product
 * failure with two attempts, an infrastructure failure, unverified input, a typed secret, a skipped test, a test
 * that never ran, authors' own Allure calls, attachments by path, by text and one whose file is gone.
 *
 * @param directory where the attachments' files are written.
 */
export function recordedRun(directory: string): RunEvent[] {
  const screenshot = join(directory, 'screen.png')
  const width = 640
  const height = 360
  const pixels = new Uint8Array(width * height * 3).map((_, index) =>
    index % 3 === 2 ? 120 : Math.floor(index / width / 3) & 0xff,
  )
  writeFileSync(screenshot, encode({ width, height, data: pixels, channels: 3 }))
  const serial = join(directory, 'serial.log')
  writeFileSync(serial, `Welcome to Alpine\r\nlogin: root\nPassword: ${PASSWORD}\n`)

  const events: RunEvent[] = []
  let time = START
  const v = 1 as const
  type Bare<T> = T extends RunEvent ? Omit<T, 'v' | 'time'> : never
  const add = (event: Bare<RunEvent>, afterMs = 40) => {
    time += afterMs
    events.push({ v, time, ...event } as RunEvent)
  }
  const start = (
    test: string,
    attempt: number,
    file: string,
    line: number,
    path: string[],
    name: string,
    more: { id?: string; tags?: string[]; meta?: Record<string, unknown> } = {},
  ) =>
    add({
      type: 'test.start',
      test,
      attempt,
      name,
      path,
      location: { file, line, column: 1 },
      tags: more.tags ?? [],
      meta: more.meta ?? {},
      ...(more.id ? { id: more.id } : {}),
    })
  const lease = (test: string, attempt: number, vm: VmRecord) => {
    add({ type: 'lease', test, attempt, state: 'waiting', vms: [] })
    add({ type: 'host', host: vm.host, state: 'up', leased: 1, capacity: 2 })
    add({ type: 'lease', test, attempt, state: 'granted', vms: [vm], waitMs: 812 }, 812)
  }
  const end = (
    test: string,
    attempt: number,
    status: 'passed' | 'failed' | 'broken' | 'skipped' | 'pending',
    more: Partial<Extract<RunEvent, { type: 'test.end' }>> = {},
  ) =>
    add({
      type: 'test.end',
      test,
      attempt,
      status,
      durationMs: 1240,
      errors: [],
      unverified: 0,
      willRetry: false,
      ...more,
    })

  add({
    type: 'run.start',
    run: 'run-20261120-093000',
    root: '/home/user/project',
    versions: { atp: '0.1.0', node: '24.21.0', vitest: '5.1.0', qemu: '7.2.0' },
    hosts: [
      { id: 'lab-a', uri: 'qemu+unix:///session?socket=/run/lab-a', capacity: 2, labels: ['tcg'] },
      { id: 'lab-b', uri: 'qemu+unix:///session?socket=/run/lab-b', capacity: 2, labels: ['tcg', 'gpu'] },
    ],
  })
  add({ type: 'notice', level: 'info', text: 'lab: two hosts are up, guest image from the cache' })
  add({
    type: 'run.plan',
    files: ['specs/input/text.spec.ts', 'specs/login.spec.yaml', 'specs/stock.spec.ts'],
    tests: 8,
  })

  // Passed, observed, with nested steps, a metric, an author's allure calls.
  const hello = 'specs/input/text.spec.ts > 输入 > 文本完整到达 qmp'
  start(hello, 1, 'specs/input/text.spec.ts', 9, ['输入'], '文本完整到达 qmp', { tags: ['smoke', 'input'] })
  lease(hello, 1, VM_1)
  add({
    type: 'step.start',
    test: hello,
    attempt: 1,
    step: '1',
    title: '打开记事本',
    kind: 'step',
    location: { file: 'specs/input/text.spec.ts', line: 10, column: 5 },
  })
  add({
    type: 'step.start',
    test: hello,
    attempt: 1,
    step: '1.1',
    parent: '1',
    title: 'type "Hello"',
    kind: 'keyboard.type',
  })
  add({ type: 'input', test: hello, attempt: 1, step: '1.1', vm: 'vm-001', delivery: delivered })
  add({ type: 'step.end', test: hello, attempt: 1, step: '1.1', status: 'passed', durationMs: 48 })
  add({
    type: 'step.start',
    test: hello,
    attempt: 1,
    step: '1.2',
    parent: '1',
    title: 'exec /bin/true',
    kind: 'guest.exec',
  })
  add({ type: 'step.end', test: hello, attempt: 1, step: '1.2', status: 'passed', durationMs: 90, note: 'exit 0' })
  add({ type: 'step.end', test: hello, attempt: 1, step: '1', status: 'passed', durationMs: 200 })
  add({
    type: 'input',
    test: hello,
    attempt: 1,
    vm: 'vm-001',
    delivery: {
      ...delivered,
      action: 'keyboard.press',
      input: 'enter',
      sent: 2,
      seen: 2,
      latency: { ...delivered.latency!, samples: 1, minMs: 2, p50Ms: 2, p95Ms: 2, p99Ms: 2, maxMs: 2 },
      latenciesMs: [2],
    },
  })
  add({ type: 'metric', test: hello, attempt: 1, key: 'login.duration', value: 182.5, unit: 'ms' })
  add({
    type: 'attachment',
    test: hello,
    attempt: 1,
    name: 'allure',
    contentType: 'application/vnd.allure.runtime-messages+json',
    text: JSON.stringify([
      {
        type: 'metadata',
        data: {
          labels: [
            { name: 'epic', value: '桌面' },
            { name: 'owner', value: 'alice' },
          ],
        },
      },
      { type: 'step_start', data: { name: "author's own allure.step", start: time } },
      {
        type: 'attachment_path',
        data: { name: 'gone', path: join(directory, 'never-written.txt'), contentType: 'text/plain' },
      },
      {
        type: 'attachment_content',
        data: {
          name: 'note',
          content: Buffer.from(`I typed ${PASSWORD}`).toString('base64'),
          encoding: 'base64',
          contentType: 'text/plain',
          wrapInStep: true,
          timestamp: time,
        },
      },
      {
        type: 'attachment_content',
        data: {
          name: 'note',
          content: Buffer.from(`typed ${PASSWORD}`).toString('base64'),
          encoding: 'base64',
          contentType: 'text/plain',
          wrapInStep: true,
          timestamp: time,
        },
      },
      { type: 'step_stop', data: { stop: time + 5, status: 'passed' } },
    ]),
  })
  add({ type: 'lease', test: hello, attempt: 1, state: 'released', vms: [VM_1] })
  end(hello, 1, 'passed')

  // Failed twice: the product lost keys.
  const lost = 'TC-1042'
  for (const attempt of [1, 2]) {
    start(lost, attempt, 'specs/input/text.spec.ts', 12, ['输入'], '中文输入法 <IME> & "引号"', {
      id: 'TC-1042',
      tags: ['input'],
      meta: { knownIssue: 'https://tracker.example/ISSUE-7' },
    })
    lease(lost, attempt, VM_2)
    add({ type: 'step.start', test: lost, attempt, step: '1', title: 'type "你好, 世界"', kind: 'keyboard.type' })
    add({ type: 'input', test: lost, attempt, step: '1', vm: 'vm-002', delivery: damaged })
    add({ type: 'step.end', test: lost, attempt, step: '1', status: 'failed', durationMs: 60, error: PRODUCT_ERROR })
    add({
      type: 'attachment',
      test: lost,
      attempt,
      step: '1',
      name: 'screenshot',
      contentType: 'image/png',
      path: screenshot,
    })
    add({ type: 'attachment', test: lost, attempt, name: 'serial console', contentType: 'text/plain', path: serial })
    add({
      type: 'attachment',
      test: lost,
      attempt,
      name: 'QMP transcript',
      contentType: 'text/plain',
      path: join(directory, 'gone.jsonl'),
    })
    add({
      type: 'attachment',
      test: lost,
      attempt,
      name: 'QGA transcript',
      contentType: 'text/plain',
      text: `→ {"execute":"guest-set-user-password","password":"${PASSWORD}"}\n← {"return":{}}\n`,
    })
    add({ type: 'lease', test: lost, attempt, state: 'released', vms: [VM_2] })
    end(lost, attempt, 'failed', {
      verdict: 'product',
      errors: [PRODUCT_ERROR, { message: 'soft: the status bar is still empty', verdict: 'product' }],
      willRetry: attempt === 1,
    })
  }

  // Flaky: the agent did not answer, then it did. The pass saw no observer.
  const login = 'specs/login.spec.yaml > 登录'
  start(login, 1, 'specs/login.spec.yaml', 1, [], '登录', { tags: ['smoke'] })
  lease(login, 1, VM_2)
  end(login, 1, 'broken', { verdict: 'infrastructure', errors: [INFRASTRUCTURE_ERROR], willRetry: true })
  start(login, 2, 'specs/login.spec.yaml', 1, [], '登录', { tags: ['smoke'] })
  lease(login, 2, VM_1)
  add({
    type: 'step.start',
    test: login,
    attempt: 2,
    step: '1',
    title: 'type ••• (11 characters)',
    kind: 'keyboard.type',
    location: { file: 'specs/login.spec.yaml', line: 9, column: 5 },
  })
  add({
    type: 'input',
    test: login,
    attempt: 2,
    step: '1',
    vm: 'vm-001',
    delivery: { ...delivered, input: '••• (11 characters)', sent: 22, seen: 22 },
  })
  add({ type: 'step.end', test: login, attempt: 2, step: '1', status: 'passed', durationMs: 70 })
  add({ type: 'step.start', test: login, attempt: 2, step: '2', title: 'click', kind: 'mouse.click' })
  add({ type: 'input', test: login, attempt: 2, step: '2', vm: 'vm-001', delivery: unverified })
  add({ type: 'step.end', test: login, attempt: 2, step: '2', status: 'passed', durationMs: 12 })
  end(login, 2, 'passed', { flaky: true, unverified: 1 })

  // Broken for good, leaking the password in its message.
  const boot = 'specs/stock.spec.ts > boots'
  start(boot, 1, 'specs/stock.spec.ts', 4, [], 'boots')
  lease(boot, 1, VM_2)
  add({ type: 'step.start', test: boot, attempt: 1, step: '1', title: 'wait for the agent', kind: 'guest.ping' })
  end(boot, 1, 'broken', {
    verdict: 'infrastructure',
    errors: [{ ...INFRASTRUCTURE_ERROR, message: `${INFRASTRUCTURE_ERROR.message} (typed ${PASSWORD})` }],
  })

  const spec = 'specs/stock.spec.ts > typo'
  start(spec, 1, 'specs/stock.spec.ts', 20, [], 'typo in a chord')
  end(spec, 1, 'broken', {
    verdict: 'spec',
    errors: [
      {
        name: 'AtpError',
        code: 'ATP_KEYS_UNKNOWN',
        branch: 'config',
        message: 'no key is called "entr"\n  → did you mean "enter"?',
        verdict: 'spec',
      },
    ],
  })

  const skipped = 'specs/stock.spec.ts > windows only'
  start(skipped, 1, 'specs/stock.spec.ts', 30, ['windows'], 'windows only')
  end(skipped, 1, 'skipped', { durationMs: 0, reason: 'needs a Windows guest; the lab has none' })

  const never = 'specs/stock.spec.ts > after the bail'
  start(never, 1, 'specs/stock.spec.ts', 40, [], 'after the bail')
  end(never, 1, 'pending', { durationMs: 0, reason: 'bail: 3 tests had failed' })

  const quiet = 'specs/stock.spec.ts > types without an observer'
  start(quiet, 1, 'specs/stock.spec.ts', 50, [], 'types without an observer')
  lease(quiet, 1, VM_1)
  add({
    type: 'input',
    test: quiet,
    attempt: 1,
    vm: 'vm-001',
    delivery: { ...unverified, action: 'keyboard.type', input: 'abc', verify: 'off', reason: 'verify is off' },
  })
  end(quiet, 1, 'passed', { unverified: 1 })

  add({ type: 'notice', level: 'warning', text: 'one VM outlived its lease and was swept' })
  add({
    type: 'run.end',
    run: 'run-20261120-093000',
    exitCode: 3,
    durationMs: time - START,
    counts: { passed: 3, failed: 1, broken: 2, skipped: 1, pending: 1 },
    flaky: 1,
    unverified: 2,
    errors: [{ message: 'afterAll hook of specs/stock.spec.ts failed', verdict: 'spec' }],
    leaked: 1,
  })
  return events
}
