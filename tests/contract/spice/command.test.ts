import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { pollUntil } from '../../../framework/core/index.ts'
import { ALL_DEVICES, ConsoleServer } from '../../support/spice-server/console-server.ts'

const ATP = resolve(import.meta.dirname, '../../../bin/atp.js')
const TICKET = 'a ticket 密'
const run = promisify(execFile)
const installed = spawnSync('ffmpeg', ['-version']).status === 0

let server: ConsoleServer
let folder: string
let address: string

beforeAll(async () => {
  server = await ConsoleServer.start({ ticket: TICKET, qemuArguments: ALL_DEVICES })
  address = `spice://127.0.0.1:${server.port}`
  folder = await mkdtemp(join(tmpdir(), 'spice-command-'))
})
afterAll(async () => {
  await server?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

const env = { ...process.env, SPICE_PASSWORD: TICKET }
const atp = (...args: string[]) => run(process.execPath, [ATP, 'spice', ...args], { env })

it('info prints what the server offers, as rows and as JSON', async () => {
  const { stdout: text } = await atp('info', address)
  expect(text).toMatch(/^display +.*preferredCompression/m)
  expect(text).toMatch(/^smartcard +/m)
  const report = JSON.parse((await atp('info', address, '--try', '20ms', '--json')).stdout)
  expect(report).toMatchObject({ server: address, choice: { compression: true } })
  expect(report.channels.length).toBe(10)
  expect(report.tried.length).toBe(7)
})

it('a wrong password, an address that is none and a missing target end with an error and its exit code', async () => {
  const wrong = run(process.execPath, [ATP, 'spice', 'info', address], { env: { ...env, SPICE_PASSWORD: 'no' } })
  await expect(wrong).rejects.toMatchObject({ stderr: expect.stringContaining('ATP_SPICE_AUTH') })
  await expect(atp('info', 'spice://')).rejects.toMatchObject({ stderr: expect.stringContaining('ATP_SPICE_URI') })
  await expect(atp('stream', address)).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining('--hls') })
})

it('stream goes on until it is interrupted, and is complete then', async ({ skip }) => {
  skip(!installed, 'ffmpeg is not installed: apt-get install ffmpeg')
  const child = spawn(process.execPath, [ATP, 'spice', 'stream', address, '--hls', folder, '--json'], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const gone = once(child, 'exit')
  let printed = ''
  child.stdout.setEncoding('utf8').on('data', (part: string) => (printed += part))
  await pollUntil('the playlist', { timeoutMs: 30_000 }, async () =>
    (await readdir(folder)).includes('index.m3u8') ? true : undefined,
  )
  child.kill('SIGINT')
  expect(await gone).toEqual([0, null])
  expect(JSON.parse(printed).frames).toBeGreaterThan(0)
})
