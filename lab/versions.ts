import { missingSystemPackages, packagesError, SYSTEM_PACKAGES } from './system-packages.ts'
import { isNotInstalled, runProgram } from './run-program.ts'
import type { CallOptions } from '../framework/core/index.ts'

/** Programs whose versions a memory snapshot depends on. */
export interface HypervisorVersions {
  qemu: string
  libvirt: string
}

/** @throws `ATP_LAB_PACKAGES` when one is not installed. */
export async function hypervisorVersions(options: CallOptions = {}): Promise<HypervisorVersions> {
  const [qemu, libvirt] = await Promise.all([firstLine('qemu-system-x86_64', options), firstLine('libvirtd', options)])
  return { qemu, libvirt }
}

async function firstLine(program: string, options: CallOptions): Promise<string> {
  try {
    const { stdout } = await runProgram(program, ['--version'], options)
    return stdout.split('\n')[0] as string
  } catch (error) {
    if (!isNotInstalled(error)) throw error
    const missing = await missingSystemPackages(options)
    throw packagesError(missing.length > 0 ? missing : SYSTEM_PACKAGES, error)
  }
}
