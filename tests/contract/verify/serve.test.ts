/** `atp verifier serve`: a real agent comes and goes. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { expect, it, onTestFinished } from 'vitest'
import { bundleVerifier } from '../../../guest/bundle.ts'

it('lists the agents that connect', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'atp-serve-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'agent.mjs'), await bundleVerifier())
  const atp = resolve(import.meta.dirname, '../../../bin/atp.js')
  const args = ['verifier', 'serve', '--websocket', '0', '--tcp', '127.0.0.1:0', '--json']
  const server = spawn(process.execPath, [atp, ...args], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => void server.kill('SIGKILL'))
  const lines = createInterface(server.stdout)[Symbol.asyncIterator]()
  const next = async () => JSON.parse((await lines.next()).value as string) as Record<string, string & string[]>
  const { urls, token } = await next()
  expect(urls).toEqual(['ws', 'tcp'].map((scheme) => expect.stringMatching(`^${scheme}://127\\.0\\.0\\.1:\\d+$`)))
  const agent = spawn(process.execPath, ['agent.mjs', '--server', urls?.[1] as string, '--vm-id', 'desk-7'], {
    cwd: folder,
    env: { ATP_VERIFIER_TOKEN: token },
    stdio: 'ignore',
  })
  onTestFinished(() => void agent.kill('SIGKILL'))
  expect((await next())['came']).toContain('desk-7 (kernel, linux')
  agent.kill('SIGKILL')
  expect((await next())['went']).toContain('desk-7')
  server.kill('SIGTERM')
  expect(await once(server, 'close')).toEqual([0, null])
})
