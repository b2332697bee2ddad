import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defaultSocketPath, HostConnection } from '../../../framework/hosts/index.ts'

describe('the socket of a local daemon', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync('/tmp/atp-dial-')
    mkdirSync(`${folder}/libvirt`)
  })
  afterAll(() => rmSync(folder, { recursive: true }))

  it('is the modular one where there is one', () => {
    const env = { XDG_RUNTIME_DIR: folder, HOME: '/nowhere' }
    expect(defaultSocketPath('/session', env)).toBe(`${folder}/libvirt/libvirt-sock`)
    writeFileSync(`${folder}/libvirt/virtqemud-sock`, '')
    expect(defaultSocketPath('/session', env)).toBe(`${folder}/libvirt/virtqemud-sock`)
  })

  it('is in the cache folder where there is no runtime folder', () => {
    expect(defaultSocketPath('/session', { HOME: '/home/x' })).toBe('/home/x/.cache/libvirt/libvirt-sock')
  })
})

describe('dialling', () => {
  it('a host that is down says so, with its socket', async () => {
    const opening = HostConnection.open({ id: 'h1', uri: 'qemu+unix:///session?socket=/nonexistent/sock' })
    await expect(opening).rejects.toMatchObject({
      code: 'ATP_TRANSPORT_CONNECT',
      message: expect.stringContaining('/nonexistent/sock'),
      remedy: expect.any(String),
    })
  })
})
