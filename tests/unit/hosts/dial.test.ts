import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { connectError } from '../../../framework/core/index.ts'
import { defaultSocketPath, dial, HostConnection, localSocketPath } from '../../../framework/hosts/index.ts'
import { explainLocal } from '../../../framework/hosts/local-socket.ts'
import { parseLibvirtUri } from '../../../framework/protocols/libvirt/index.ts'

let folder: string
const servers: Server[] = []
const asked: string[] = []

beforeEach(() => {
  folder = mkdtempSync('/tmp/atp-dial-')
  mkdirSync(`${folder}/libvirt`)
})
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.close()
    await once(server, 'close')
  }
  asked.splice(0)
  rmSync(folder, { recursive: true })
})

async function listen(where: string | number, name = String(where)): Promise<number> {
  const server = createServer((socket) => {
    asked.push(name)
    socket.on('error', () => {}).resume()
  })
  servers.push(server)
  server.listen(where)
  await once(server, 'listening')
  return typeof where === 'number' ? (server.address() as AddressInfo).port : 0
}

/** A daemon's socket in the session's folder. */
const daemon = (name: string) => listen(`${folder}/libvirt/${name}`, name)

/** Which daemon a URI leads to. */
async function reached(text: string): Promise<string | undefined> {
  const stream = await dial(parseLibvirtUri(text), { env: { XDG_RUNTIME_DIR: folder }, timeoutMs: 5000 })
  await expect.poll(() => asked.length).toBe(1)
  stream.destroy()
  return asked.pop()
}

describe('a local URI leads to', () => {
  it('libvirtd where that is all there is', async () => {
    await daemon('libvirt-sock')
    expect(await reached('qemu:///session')).toBe('libvirt-sock')
    expect(await reached('qemu:///session?mode=legacy')).toBe('libvirt-sock')
    await expect(reached('qemu:///session?mode=direct')).rejects.toThrow('virtqemud-sock')
  })

  it('virtqemud where that is all there is', async () => {
    await daemon('virtqemud-sock')
    expect(await reached('qemu:///session')).toBe('virtqemud-sock')
    expect(await reached('qemu+unix:///session?mode=direct')).toBe('virtqemud-sock')
    await expect(reached('qemu:///session?mode=legacy')).rejects.toThrow('libvirt-sock')
  })

  it('virtqemud where both are, unless told otherwise', async () => {
    await daemon('libvirt-sock')
    await daemon('virtqemud-sock')
    expect(await reached('qemu:///session')).toBe('virtqemud-sock')
    expect(await reached('qemu:///session?mode=direct')).toBe('virtqemud-sock')
    expect(await reached('qemu:///session?mode=legacy')).toBe('libvirt-sock')
  })

  it('the socket it names, whatever else is there', async () => {
    await daemon('virtqemud-sock')
    await listen(`${folder}/own sock`, 'own')
    expect(await reached(`qemu+unix:///session?socket=${folder}/own%20sock`)).toBe('own')
  })

  it('the daemon that is there at that time: the host may change over', async () => {
    await daemon('libvirt-sock')
    expect(await reached('qemu:///session')).toBe('libvirt-sock')
    await daemon('virtqemud-sock')
    expect(await reached('qemu:///session')).toBe('virtqemud-sock')
  })
})

describe('the socket of a local daemon is', () => {
  it.each([
    [{ XDG_RUNTIME_DIR: '/run/user/7', XDG_CACHE_HOME: '/c', HOME: '/h' }, '/run/user/7/libvirt/libvirt-sock'],
    [{ XDG_RUNTIME_DIR: '', XDG_CACHE_HOME: '/c', HOME: '/h' }, '/c/libvirt/libvirt-sock'],
    [{ HOME: '/home/x' }, '/home/x/.cache/libvirt/libvirt-sock'],
  ])('for a session with %j: %s', (env, path) => {
    expect(defaultSocketPath('/session', env)).toBe(path)
  })

  it('for the system in its own folder', () => {
    expect(defaultSocketPath('/system', { XDG_RUNTIME_DIR: folder }, 'legacy')).toBe('/var/run/libvirt/libvirt-sock')
    expect(defaultSocketPath('/system', { XDG_RUNTIME_DIR: folder }, 'direct')).toBe('/var/run/libvirt/virtqemud-sock')
  })

  it('a file that is there, whatever it is: connecting says the rest', () => {
    writeFileSync(`${folder}/libvirt/virtqemud-sock`, '')
    const uri = parseLibvirtUri('qemu:///session')
    expect(localSocketPath(uri, { XDG_RUNTIME_DIR: folder })).toBe(`${folder}/libvirt/virtqemud-sock`)
  })
})

describe('a local daemon that cannot be reached', () => {
  it('says what can be done', async () => {
    await expect(reached('qemu:///session')).rejects.toMatchObject({
      code: 'ATP_TRANSPORT_CONNECT',
      retryable: true,
      message: expect.stringContaining('libvirt-sock'),
      remedy: expect.stringContaining('virsh -c qemu:///session list'),
      context: { errno: 'ENOENT' },
    })
  })

  it.each([
    ['qemu:///system', 'EACCES', /group libvirt/],
    ['qemu:///session', 'EACCES', /whose session/],
    ['qemu:///system', 'ECONNREFUSED', /systemctl start libvirtd/],
    ['qemu:///system', 'ENOENT', /virtqemud\.socket/],
    ['qemu:///system', 'EAGAIN', /^as before$/],
  ])('%s with %s: %s', (uri, errno, remedy) => {
    const error = connectError('ATP_TRANSPORT_CONNECT', 'cannot connect', { context: { errno }, remedy: 'as before' })
    expect(explainLocal(error, parseLibvirtUri(uri))).toMatchObject({
      code: 'ATP_TRANSPORT_CONNECT',
      remedy: expect.stringMatching(remedy),
      message: expect.stringMatching(/^cannot connect\n/),
    })
  })

  it('leaves other errors as they are', () => {
    const error = new Error('other')
    expect(explainLocal(error, parseLibvirtUri('qemu:///system'))).toBe(error)
  })

  it('shows through a host’s connection, with its socket', async () => {
    const opening = HostConnection.open({ id: 'h1', uri: 'qemu+unix:///session?socket=/nonexistent/sock' })
    await expect(opening).rejects.toMatchObject({
      code: 'ATP_TRANSPORT_CONNECT',
      message: expect.stringContaining('/nonexistent/sock'),
      remedy: expect.any(String),
    })
  })
})

describe('over TCP', () => {
  it('reaches the port the URI names', async () => {
    const port = await listen(0)
    const stream = await dial(parseLibvirtUri(`qemu+tcp://localhost:${port}/system`))
    expect(stream.peer).toBe(`tcp:localhost:${port}`)
    stream.destroy()
  })

  it('uses libvirt’s port without one', async () => {
    const uri = parseLibvirtUri('qemu+tcp://127.0.0.1/system')
    const text = await dial(uri, { timeoutMs: 5000 }).then(
      (stream) => {
        stream.destroy()
        return stream.peer
      },
      (error: Error) => error.message,
    )
    expect(text).toContain('tcp:127.0.0.1:16509')
  })

  it('does not connect for who has given up', async () => {
    const uri = parseLibvirtUri('qemu+tcp://127.0.0.1/system')
    await expect(dial(uri, { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'ATP_INTERRUPTED' })
  })
})
