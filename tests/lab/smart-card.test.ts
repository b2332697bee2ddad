import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { openBenchVm, type BenchVm } from '../../bench/support/lab-vm.ts'
import { pollUntil } from '../../framework/core/index.ts'

const SET_UP_MS = 180_000
const SOURCE = resolve(import.meta.dirname, '../support/smart-card/ccid.c')
const SELECT = '00a40400023f00'
const ATR = Uint8Array.of(0x3b, 0x95, 0x13, 0x81, 0x01, 0x80, 0xff, 0xff, 0xff)
const compiler = spawnSync('cc', ['--version']).status === 0

describe('a guest and its smart card', () => {
  beforeEach(({ skip }) => skip(!compiler, 'no C compiler is installed: apt-get install tcc libc6-dev'))
  let machine: BenchVm

  beforeAll(async () => {
    if (!compiler) return
    const folder = mkdtempSync(join(tmpdir(), 'ccid-'))
    const program = join(folder, 'ccid')
    const { status, stderr } = spawnSync('cc', ['-O1', '-o', program, SOURCE], { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
    machine = await openBenchVm('spice', () => {})
    await machine.vm.guest.file('/tmp/ccid').write(readFileSync(program))
    rmSync(folder, { recursive: true })
  }, SET_UP_MS)
  afterAll(() => machine?.close(), SET_UP_MS)

  const sh = async (line: string): Promise<string> => {
    const { stdoutText, stderrText, exitCode } = await machine.vm.guest.shell(line, { timeoutMs: 60_000 })
    if (exitCode !== 0) throw new Error(`"${line}" ended with ${exitCode}: ${stderrText}`)
    return stdoutText.trim()
  }
  const ask = async (): Promise<string[]> => {
    const find = 'for d in /sys/bus/usb/devices/*/; do grep -qs CCID $d/product && cat $d/busnum $d/devnum; done; true'
    const numbers = await pollUntil('the reader', { timeoutMs: 10_000 }, async () => {
      const found = (await sh(find)).split(/\s+/)
      return found.length === 2 ? found : undefined
    })
    const node = numbers.map((number) => number.padStart(3, '0')).join('/')
    return (await sh(`chmod +x /tmp/ccid; /tmp/ccid /dev/bus/usb/${node} ${SELECT}`)).split('\n')
  }

  it('asks the card, which answers from here; a card that fails answers 6F00', async () => {
    const { smartCards } = await machine.vm.spice()
    const commands: string[] = []
    await smartCards.insert({
      atr: ATR,
      respond: async (command) => {
        commands.push(Buffer.from(command).toString('hex'))
        return Uint8Array.of(0xca, 0xfe, 0x90, 0x00)
      },
    })
    expect(await ask()).toEqual([Buffer.from(ATR).toString('hex'), 'cafe9000'])
    expect([commands, smartCards.commands, smartCards.failure]).toEqual([[SELECT], 1, undefined])

    const broken = new Error('no idea')
    await smartCards.insert({ atr: ATR, respond: () => Promise.reject(broken) })
    expect((await ask())[1]).toBe('6f00')
    expect(smartCards.failure).toBe(broken)

    await smartCards.insert({ atr: ATR, respond: () => new Uint8Array(1) })
    expect((await ask())[1]).toBe('6f00')
    expect(smartCards.failure).toMatchObject({ code: 'ATP_SPICE_CARD_RESPONSE' })

    await smartCards.eject()
    await expect(ask()).rejects.toThrow('status')
    await smartCards.detach()
  })
})
