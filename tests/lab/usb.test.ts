import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { openBenchVm, type BenchVm } from '../../bench/support/lab-vm.ts'
import { pollUntil } from '../../framework/core/index.ts'
import { usbKeyboard, usbMouse, usbStorage, type DesktopVm } from '../../framework/desktop/index.ts'
import type { SpiceSession } from '../../framework/desktop/spice-session.ts'
import { loadScenario, ScenarioExecutor } from '../../framework/scenario/index.ts'

const SET_UP_MS = 180_000
const KEY = 1
const RELATIVE = 2
const RECORD_BYTES = 24
const DISK_BYTES = 2 * 1024 * 1024

let machine: BenchVm
let vm: DesktopVm
let spice: SpiceSession
let folder: string
let file: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usb-'))
  file = join(folder, '磁盘.img')
  machine = await openBenchVm('spice', () => {})
  vm = machine.vm
  spice = await vm.spice()
}, SET_UP_MS)
beforeEach(() => writeFile(file, randomBytes(DISK_BYTES)))
afterAll(async () => {
  await machine?.close()
  await rm(folder, { recursive: true, force: true })
}, SET_UP_MS)

const sh = async (line: string): Promise<string> => {
  const { stdoutText, stderrText, exitCode } = await vm.guest.shell(line, { timeoutMs: 60_000 })
  if (exitCode !== 0) throw new Error(`"${line}" ended with ${exitCode}: ${stderrText}`)
  return stdoutText.trim()
}
const products = () => sh('cat /sys/bus/usb/devices/*/product')
const until = (what: string, probe: () => Promise<boolean>) =>
  pollUntil(what, { timeoutMs: 20_000 }, async () => ((await probe()) ? true : undefined))
const md5 = (bytes: Uint8Array) => createHash('md5').update(bytes).digest('hex')
const md5InGuest = async () => (await sh('echo 3 > /proc/sys/vm/drop_caches; md5sum /dev/sda')).split(' ')[0]
const diskComes = () => until('the disk', async () => (await sh('cat /sys/block/sda/size || true')) !== '')

/** Lets the guest record what a device reports; the function reads it, without time stamps and separators. */
async function observe(name: string): Promise<(count: number) => Promise<number[][]>> {
  const path = `/tmp/${name.replaceAll(' ', '-')}`
  const event = await sh(`grep -A5 '${name}' /proc/bus/input/devices | grep -o 'event[0-9]*'`)
  // The device is open before the shell ends.
  await sh(`exec 3< /dev/input/${event}; cat <&3 > ${path} 2> /dev/null &`)
  return async (count) => {
    let events: number[][] = []
    await until(`${count} events of ${name}`, async () => {
      const bytes = await vm.guest.file(path).read()
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
      events = Array.from({ length: Math.floor(bytes.length / RECORD_BYTES) }, (_, index) => {
        const at = index * RECORD_BYTES + 16
        return [view.getUint16(at, true), view.getUint16(at + 2, true), view.getInt32(at + 4, true)]
      }).filter(([type, code]) => type === KEY || (type === RELATIVE && code !== 11))
      return events.length >= count
    })
    return events
  }
}

it('two devices at once: the guest sees every key and every motion', async () => {
  const [keyboard, mouse] = await Promise.all([spice.plug(usbKeyboard()), spice.plug(usbMouse())])
  expect(await products()).toContain('ATP USB Keyboard')
  expect(await products()).toContain('ATP USB Mouse')
  const [typed, moved] = [await observe('ATP USB Keyboard'), await observe('ATP USB Mouse')]
  await Promise.all([
    keyboard.device.press('shift+a'),
    mouse.device.moveBy(-3, 130).then(() => mouse.device.click('right')),
  ])
  await mouse.device.scroll(-1)
  expect(await typed(4)).toEqual([
    [KEY, 42, 1],
    [KEY, 30, 1],
    [KEY, 30, 0],
    [KEY, 42, 0],
  ])
  const seen = await moved(7)
  const sum = (axis: number) =>
    seen.reduce((all, [type, code, value]) => all + (type === 2 && code === axis ? (value as number) : 0), 0)
  expect([sum(0), sum(1), sum(8)]).toEqual([-3, 130, 1])
  expect(seen.filter(([type]) => type === KEY)).toEqual([
    [KEY, 0x111, 1],
    [KEY, 0x111, 0],
  ])
  await expect(spice.plug(usbKeyboard())).rejects.toMatchObject({ code: 'ATP_SPICE_USB_NO_PORT' })
  await Promise.all([keyboard.unplug(), mouse.unplug()])
  await until('both to go', async () => !(await products()).includes('ATP USB'))
})

it('a thousand characters arrive, in order', async () => {
  const keyboard = await spice.plug(usbKeyboard())
  const typed = await observe('ATP USB Keyboard')
  const text = 'sphinx of black quartz, judge my vow '.repeat(28).slice(0, 1000)
  await keyboard.device.type(text)
  const events = await typed(2 * text.length)
  const down = events.filter(([, , value]) => value === 1).map(([, code]) => code)
  // Letters alone, so that a key is a character.
  const codes = new Map([...text].map((character, index) => [character, down[index]]))
  expect(down).toEqual([...text].map((character) => codes.get(character)))
  expect(new Set(codes.values()).size).toBe(codes.size)
  await keyboard.unplug()
})

it('a disk is read and written, also after its channel was lost', async () => {
  const disk = await spice.plug(usbStorage({ file }))
  await diskComes()
  expect(await md5InGuest()).toBe(md5(await readFile(file)))
  await sh('dd if=/dev/urandom of=/dev/sda bs=64k count=32 conv=fsync')
  const written = await readFile(file)
  expect(await md5InGuest()).toBe(md5(written))

  const channel = spice.connection.getChannel('usbredir', disk.port)
  const back = new Promise<void>((resolve) => channel?.onStateChange(({ to }) => to === 'open' && resolve()))
  channel?.lose(new Error('cut by the test'))
  await back
  await disk.ready()
  await diskComes()
  const device = await sh('ls /dev/sd?')
  await sh(`printf after | dd of=${device} conv=fsync`)
  expect((await readFile(file)).subarray(0, 5).toString()).toBe('after')
  expect((await readFile(file)).subarray(5)).toEqual(written.subarray(5))
  expect(disk.device.failure).toBeUndefined()
  await disk.unplug()
  await until('it to go', async () => (await sh('ls /sys/block')).includes('sd') === false)
})

it('a disk that is pulled out in the middle of a transfer harms nobody', async () => {
  for (const direction of ['if=/dev/sda of=/dev/null', 'if=/dev/zero of=/dev/sda']) {
    const disk = await spice.plug(usbStorage({ file }))
    await diskComes()
    await sh('echo 3 > /proc/sys/vm/drop_caches')
    let transfers = 0
    const { store } = disk.device
    const moving = Promise.withResolvers<void>()
    for (const verb of ['read', 'write'] as const) {
      const real = store[verb].bind(store) as (...all: never[]) => Promise<never>
      Object.assign(store, {
        [verb]: (...all: never[]) => {
          if (++transfers === 4) moving.resolve()
          return real(...all)
        },
      })
    }
    const copied = vm.guest.shell(`dd ${direction} bs=64k count=32 conv=fsync`, { timeoutMs: 60_000 })
    await moving.promise
    await disk.unplug()
    expect((await copied).exitCode).not.toBe(0)
    await until('it to go', async () => (await sh('ls /sys/block')).includes('sd') === false)
  }
  expect(await vm.state()).toBe('running')
  const again = await spice.plug(usbStorage({ file }))
  await diskComes()
  expect(await md5InGuest()).toBe(md5(await readFile(file)))
  await again.unplug()
})

it('steps plug devices in and out', async () => {
  const { scenario } = await loadScenario(
    {
      text: `name: n
vars: { disk: ${JSON.stringify(file)} }
steps:
  - { action: usb.redirect, device: storage, file: "\${disk}", capture: usb }
  - { action: expect.command, command: cat, args: [/sys/block/sda/size], stdout: { contains: "${DISK_BYTES / 512}" } }
  - { action: usb.redirect, device: mouse }
  - { action: log, message: "\${usb.device} in \${usb.port}" }
  - { action: usb.release, device: storage }
  - { action: usb.release }
  - { action: usb.release, on_failure: continue }
  - { action: usb.redirect, device: storage, on_failure: continue }
`,
    },
    { file: 'usb.spec.yaml' },
  )
  const report = await new ScenarioExecutor({ resolveVm: () => vm }).execute(scenario)
  expect(report.steps.map(({ status }) => status)).toEqual([
    ...Array.from({ length: 6 }, () => 'passed'),
    'broken',
    'broken',
  ])
  expect((await vm.usb()).plugged).toEqual([])
})
