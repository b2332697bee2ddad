import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { runProgram } from '../../../lab/run-program.ts'
import { writeStateDisk } from '../../../lab/state-disk.ts'
import { installSystemPackages, missingSystemPackages } from '../../../lab/system-packages.ts'

const ABSENT = 'atp-no-such-package'
const NOBODY = 65534

describe('system packages', () => {
  it('are looked up in the package database', async () => {
    expect(await missingSystemPackages({}, ['dpkg', ABSENT])).toEqual([ABSENT])
  })

  it('are not touched when they are all there', async (context) => {
    const missing = await missingSystemPackages()
    if (missing.length > 0) context.skip(`the lab's packages are not installed: ${missing.join(', ')}`)
    expect(await installSystemPackages()).toEqual([])
  })

  it('are asked for with the exact command by whoever may not install them', async (context) => {
    if (process.getuid?.() !== 0) context.skip('only root can become somebody who surely may not')
    const module = JSON.stringify(resolve(import.meta.dirname, '../../../lab/system-packages.ts'))
    const program = `import { installSystemPackages } from ${module}
      await installSystemPackages({ also: ['${ABSENT}'] }).catch((error) => console.log(error.code, error.message))`
    const { stdout } = await runProgram('setpriv', [
      `--reuid=${NOBODY}`,
      `--regid=${NOBODY}`,
      '--clear-groups',
      process.execPath,
      '--input-type=module',
      '-e',
      program,
    ])
    expect(stdout).toMatch(/^ATP_LAB_PACKAGES /)
    expect(stdout).toMatch(new RegExp(`sudo apt-get install --no-install-recommends -y .*${ABSENT}`))
  })
})

describe('state disk', () => {
  it('is a qcow2 image QEMU finds no fault with', async (context) => {
    const folder = await mkdtemp(join(tmpdir(), 'atp-disk-'))
    try {
      const disk = join(folder, 'state.qcow2')
      await writeStateDisk(disk)
      const checked = await runProgram('qemu-img', ['check', '-f', 'qcow2', disk]).catch(() => undefined)
      if (!checked) context.skip('qemu-img is not installed')
      expect(checked).toMatchObject({ exitCode: 0, stdout: expect.stringContaining('No errors') as string })
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
