import { createHash, randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { openBenchVm, type BenchVm } from '../../bench/support/lab-vm.ts'
import type { SpiceSession } from '../../framework/desktop/spice-session.ts'
import type { DesktopVm } from '../../framework/desktop/index.ts'
import { loadScenario, ScenarioExecutor } from '../../framework/scenario/index.ts'

const SET_UP_MS = 180_000
const GUEST_PROGRAMS = resolve(import.meta.dirname, '../support/spice-guest')
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

describe('what goes between a guest and its SPICE client', () => {
  let machine: BenchVm
  let vm: DesktopVm
  let spice: SpiceSession
  let folder: string
  beforeAll(async () => {
    machine = await openBenchVm('spice', () => {})
    vm = machine.vm
    spice = await vm.spice()
    folder = await mkdtemp(join(tmpdir(), 'spice-data-'))
    for (const program of ['agent.sh', 'folder.sh']) {
      await vm.guest.file(`/tmp/${program}`).write(await readFile(join(GUEST_PROGRAMS, program)))
    }
  }, SET_UP_MS)
  afterAll(async () => {
    await rm(folder, { recursive: true, force: true })
    await machine?.close()
  }, SET_UP_MS)

  async function shell(line: string): Promise<string> {
    const { exitCode, stdoutText, stderrText } = await vm.guest.shell(line, { timeoutMs: 30_000 })
    expect([exitCode, stderrText]).toEqual([0, expect.anything()])
    return stdoutText
  }
  const hashInGuest = async (file: string) => (await shell(`sha256sum '${file}'`)).slice(0, 64)

  /** The guest's end of a port sends back each line, until one says `end`. */
  async function echo(): Promise<void> {
    const loop = `while IFS= read -r line <&3 && [ "$line" != end ]; do printf 'echo: %s\\n' "$line" >&3; done`
    await shell(`(exec 3<>/dev/virtio-ports/atp.port.0; ${loop}) > /dev/null 2>&1 &`)
  }

  it('a port carries bytes both ways, and tells when the guest opens and closes it', async () => {
    await expect(spice.port('nobody')).rejects.toMatchObject({ code: 'ATP_SPICE_PORT_UNKNOWN' })
    const port = await spice.port('atp.port.0')
    const events: string[] = []
    port.onEvent = (event) => events.push(event)
    expect(port.guestOpen).toBe(false)
    await echo()
    await port.waitForGuest()
    for (const line of ['你好', 'desktop']) {
      await port.send(`${line}\n`)
      let back = ''
      while (!back.endsWith('\n')) back += Buffer.from(await port.receive({ timeoutMs: 5000 })).toString()
      expect(back).toBe(`echo: ${line}\n`)
    }
    await port.send('end\n')
    await expect.poll(() => port.guestOpen, { timeout: 5000 }).toBe(false)
    expect(events).toEqual(['opened', 'closed'])
    await port.close()
    await expect(port.send('x')).rejects.toMatchObject({ code: 'ATP_SPICE_CLOSED' })
    await (await spice.port('atp.port.0')).close()
  })

  it('a shared folder is listed, and files come and go unharmed', async () => {
    const down = randomBytes(200_000)
    await mkdir(join(folder, '子'))
    await writeFile(join(folder, '给客户机.bin'), down)
    const shared = await spice.shareFolder(folder)
    onTestFinished(() => shared.close())
    await expect(spice.shareFolder(folder)).rejects.toMatchObject({ code: 'ATP_SPICE_FOLDER_TAKEN' })
    const listed = await shell("sh /tmp/folder.sh PROPFIND / /dev/null 'Depth: 1'")
    expect(listed).toContain('<D:displayname>给客户机.bin</D:displayname>')
    expect(listed).toContain('<D:displayname>子</D:displayname>')
    await shell(`sh /tmp/folder.sh GET '/${encodeURIComponent('给客户机.bin')}' > /tmp/down`)
    expect(await hashInGuest('/tmp/down')).toBe(sha256(down))
    await shell(
      `head -c 300000 /dev/urandom > /tmp/up; sh /tmp/folder.sh PUT '/${encodeURIComponent('子')}/up' /tmp/up`,
    )
    expect(sha256(await readFile(join(folder, '子/up')))).toBe(await hashInGuest('/tmp/up'))
    expect(await shell('sh /tmp/folder.sh GET /../../etc/hostname 2>&1')).toContain('403 Forbidden')
    await expect.poll(() => shared.clients).toBe(0)
  })

  it('an agent shares the clipboard, takes files, and hears what a desktop shall look like', async () => {
    await expect(spice.agent.ready({ timeoutMs: 100 })).rejects.toMatchObject({ code: 'ATP_SPICE_AGENT_ABSENT' })
    await shell('sh /tmp/agent.sh /tmp/agent > /tmp/agent.log 2>&1 &')
    expect(await spice.agent.ready()).toContain('clipboardByDemand')

    const long = `剪贴板 “text”\n${'长'.repeat(1000)}`
    await spice.agent.clipboard.write(long)
    await expect
      .poll(
        () =>
          vm.guest
            .file('/tmp/agent/pasted')
            .text()
            .catch(() => ''),
        { timeout: 60_000 },
      )
      .toBe(long)
    await shell("printf '桌面\\nfrom the guest 😀' > /tmp/copied && mv /tmp/copied /tmp/agent/copy")
    expect(await spice.agent.clipboard.read({ timeoutMs: 60_000 })).toBe('桌面\nfrom the guest 😀')

    const file = randomBytes(70_000)
    await spice.agent.sendFile('报告 1.bin', file)
    expect(await hashInGuest('/tmp/agent/files/报告 1.bin')).toBe(sha256(file))
    await spice.agent.sendFile('empty', new Uint8Array(0))
    expect(await vm.guest.file('/tmp/agent/files/empty').exists()).toBe(true)

    await spice.agent.setMonitors([{ width: 1024, height: 768 }])
    await spice.agent.setDisplay(['disableAnimation'])
    await spice.agent.setMaxClipboard(12_345)
    await expect.poll(() => vm.guest.file('/tmp/agent/limit').exists(), { timeout: 60_000 }).toBe(true)
    expect((await vm.guest.file('/tmp/agent/limit').text()).trim()).toBe('12345')
    expect((await vm.guest.file('/tmp/agent/display').text()).trim()).toBe('4 0')
  })

  it('agent and folder come back with a session that was lost', async () => {
    await writeFile(join(folder, 'again'), '又')
    const shared = await spice.shareFolder(folder)
    onTestFinished(() => shared.close())
    const read = () => shell('sh /tmp/folder.sh GET /again 2>/dev/null')
    const webdav = () => spice.connection.getChannel('webdav')
    const isBack = () => expect.poll(() => webdav()?.state, { timeout: 30_000 }).toBe('open')
    webdav()?.lose(new Error('cut by the test'))
    await isBack()
    expect(await read()).toBe('又')
    const port = await spice.port('atp.port.0')
    spice.main.lose(new Error('cut by the test'))
    await isBack()
    expect(await read()).toBe('又')
    expect(port.isOver).toBe(true)
    await spice.agent.clipboard.write('又来了')
    const pasted = () => vm.guest.file('/tmp/agent/pasted').text()
    await expect.poll(pasted, { timeout: 60_000 }).toBe('又来了')
  })

  it('steps do the same', async () => {
    await writeFile(join(folder, 'step.txt'), '步骤')
    await writeFile(join(folder, 'own.txt'), 'for the guest')
    const file = join(folder, 'data.yaml')
    await writeFile(
      file,
      `
atp: 1
name: data
steps:
  - { action: command.exec, command: '(exec 3<>/dev/virtio-ports/atp.port.0; until read line <&3; do usleep 20000; done; echo "收到 $line" >&3) > /dev/null 2>&1 &' }
  - { action: spice.port_send, port: atp.port.0, text: "线\\n" }
  - { action: spice.port_expect, port: atp.port.0, contains: 收到 线 }
  - { action: spice.clipboard_write, text: 来自步骤 }
  - { action: expect.file, path: /tmp/agent/pasted, equals: 来自步骤, timeout: 60s }
  - { action: command.exec, command: "printf 步 > /tmp/agent/c; mv /tmp/agent/c /tmp/agent/copy; sleep 1" }
  - { action: spice.clipboard_read, equals: 步, timeout: 60s }
  - { action: spice.send_file, file: ${join(folder, 'step.txt')} }
  - { action: expect.file, path: /tmp/agent/files/step.txt, equals: 步骤 }
  - { action: spice.share_folder, folder: ${folder} }
  - { action: expect.command, command: "sh /tmp/folder.sh GET /own.txt 2>/dev/null", stdout: for the guest, timeout: 60s }
`,
    )
    const { scenario } = await loadScenario(file)
    const report = await new ScenarioExecutor({ resolveVm: () => vm }).execute(scenario)
    expect(report.steps.map(({ status, error }) => [status, error?.message])).toEqual(
      report.steps.map(() => ['passed', undefined]),
    )
    expect(report.steps).toHaveLength(11)
  })
})
