import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import {
  missingHostPart,
  newResources,
  openClient,
  ownResources,
  PausableProxy,
  RemoteHost,
} from '../../support/remote-host/index.ts'

const missing = missingHostPart(['tcp', 'ssh'])
if (missing) console.warn(`tests of the tests’ own hosts are skipped: ${missing}`)

function processesNaming(text: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(`${text}/`)
    } catch {
      // It has ended since the listing.
      return false
    }
  })
}

describe.skipIf(missing)('a host of the tests', () => {
  it('leaves nothing behind when it stops', async () => {
    const before = ownResources()
    const host = await RemoteHost.start({ listen: ['tcp', 'ssh'] })
    const { root } = host.daemon
    await (await openClient(host.info('tcp'))).close()
    expect(processesNaming(root).length).toBeGreaterThan(0)
    await host.stop()
    expect(existsSync(root)).toBe(false)
    await expect.poll(() => processesNaming(root), { timeout: 5000 }).toEqual([])
    await expect.poll(() => newResources(before), { timeout: 5000 }).toEqual([])
  })

  it('is at the same addresses after a restart, with its VMs', async () => {
    const host = await RemoteHost.start({ listen: ['tcp'] })
    try {
      const client = await openClient(host.info('tcp'))
      await client.defineXml(
        `<domain type='qemu'><name>kept</name><memory>32768</memory><os><type>hvm</type></os></domain>`,
      )
      await host.restart('SIGKILL')
      await client.closed
      const again = await openClient(host.info('tcp'))
      expect((await again.listDomains()).map(({ name }) => name)).toEqual(['kept'])
      await again.close()
    } finally {
      await host.stop()
    }
  })

  it('ends with its owner, however that dies', async () => {
    const owner = spawn(process.execPath, [`${import.meta.dirname}/doomed-owner.ts`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [root] = (await once(owner.stdout.setEncoding('utf8'), 'data')) as [string]
    expect(processesNaming(root).length).toBeGreaterThan(2)
    owner.kill('SIGKILL')
    await expect.poll(() => processesNaming(root), { timeout: 30_000 }).toEqual([])
    await expect.poll(() => existsSync(root), { timeout: 30_000 }).toBe(false)
  })
})

describe('a link of the tests', () => {
  async function withEcho(
    check: (proxy: PausableProxy, dial: () => Promise<Socket>, port: number) => Promise<void>,
  ): Promise<void> {
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.pipe(socket)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const proxy = await PausableProxy.start({ host: '127.0.0.1', port })
    try {
      const dial = async () => {
        const socket = connect(proxy.port, '127.0.0.1')
        await once(socket, 'connect')
        return socket
      }
      await check(proxy, dial, port)
    } finally {
      await proxy.stop()
      await new Promise((closed) => server.close(closed))
    }
  }

  it('passes everything on, holds it back while paused, and then passes it on', async () => {
    await withEcho(async (proxy, dial, port) => {
      const socket = await dial()
      let received = ''
      socket.on('data', (chunk) => (received += chunk))
      socket.write('one ')
      await expect.poll(() => received).toBe('one ')
      proxy.pause()
      socket.write('two ')
      const late = await dial()
      late.end('not yet')
      const answer = once(late.setEncoding('utf8'), 'data')
      // A round trip past the proxy: whatever was to come through it has come.
      const direct = connect(port, '127.0.0.1')
      direct.end('x')
      await once(direct, 'data')
      expect(received).toBe('one ')
      proxy.resume()
      await expect.poll(() => received).toBe('one two ')
      expect(await answer).toEqual(['not yet'])
      expect(proxy.connections).toBe(2)
      socket.destroy()
      late.destroy()
    })
  })

  it('resets its connections when cut, and takes new ones', async () => {
    await withEcho(async (proxy, dial) => {
      const socket = await dial()
      socket.write('x')
      await once(socket, 'data')
      const failed = once(socket, 'error')
      proxy.cut()
      expect(await failed).toMatchObject([{ code: 'ECONNRESET' }])
      const again = await dial()
      again.end('y')
      expect(String(await once(again, 'data'))).toBe('y')
    })
  })
})
