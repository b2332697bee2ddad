import { existsSync, lstatSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, onTestFinished } from 'vitest'
import { makeRuntimeFolder, removeRuntimeFolder } from '../../../lab/runtime-folder.ts'

const { uid, gid, username } = userInfo()
const user = { name: username, uid, gid, prefix: [] }

function home(): string {
  const dir = mkdtempSync('/tmp/atp-runtime-')
  onTestFinished(async () => {
    await removeRuntimeFolder(join(dir, 'r'))
    rmSync(dir, { recursive: true, force: true })
  })
  return join(dir, 'r')
}

describe.skipIf(!existsSync('/dev/shm'))('the runtime folder (needs /dev/shm)', () => {
  it('is private, in memory, and gone when removed', async () => {
    const path = home()
    await makeRuntimeFolder(path, user)
    const folder = readlinkSync(path)
    expect(folder).toMatch(/^\/dev\/shm\/atp-/)
    expect(statSync(path).mode & 0o777).toBe(0o700)
    await removeRuntimeFolder(path)
    expect(existsSync(folder) || existsSync(path)).toBe(false)
  })

  it('is empty again, whatever an earlier one left: a folder, a link to nothing', async () => {
    const path = home()
    mkdirSync(path)
    writeFileSync(join(path, 'old'), '')
    await makeRuntimeFolder(path, user)
    writeFileSync(join(path, 'old'), '')
    await makeRuntimeFolder(path, user)
    expect(existsSync(join(path, 'old'))).toBe(false)
    rmSync(readlinkSync(path), { recursive: true })
    await makeRuntimeFolder(path, user)
    expect(statSync(path).isDirectory()).toBe(true)
  })

  it('stays on the disk where the place in memory is not ours', async () => {
    const path = home()
    await makeRuntimeFolder(path, user)
    const folder = readlinkSync(path)
    await removeRuntimeFolder(path)
    writeFileSync(folder, 'somebody else’s')
    onTestFinished(() => rmSync(folder, { force: true }))
    await makeRuntimeFolder(path, user)
    expect(lstatSync(path).isDirectory()).toBe(true)
    await removeRuntimeFolder(path)
    expect(existsSync(folder)).toBe(true)
  })
})
