import { remoteError, unsupportedError, type AtpError, type CallOptions } from '../framework/core/index.ts'
import { isNotInstalled, runProgram } from './run-program.ts'

/** What the lab runs on, besides what every Debian has. Their dependencies bring the rest. */
export const SYSTEM_PACKAGES = ['qemu-system-x86', 'libvirt-daemon', 'libvirt-daemon-driver-qemu'] as const

const INSTALL_TIMEOUT_MS = 900_000

/** Which of {@link SYSTEM_PACKAGES}, or of the packages named, are not installed. */
export async function missingSystemPackages(
  options: CallOptions = {},
  wanted: readonly string[] = SYSTEM_PACKAGES,
): Promise<string[]> {
  const { stdout } = await query(wanted, options)
  const installed = new Set(
    stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  )
  return wanted.filter((name) => !installed.has(name))
}

async function query(names: readonly string[], options: CallOptions): Promise<{ stdout: string }> {
  try {
    return await runProgram('dpkg-query', ['-W', '-f', '${Package} ${db:Status-Status}\n', ...names], options)
  } catch (error) {
    if (!isNotInstalled(error)) throw error
    throw unsupportedError(
      'ATP_LAB_SYSTEM',
      'the lab needs Debian, or a system made from it: dpkg-query is not installed',
      {
        cause: error,
        remedy: 'run the lab on Debian 12, or name hypervisor hosts of your own under "hosts" in atp.config.ts',
      },
    )
  }
}

/** The error for a system that lacks packages; its remedy is the command to type. */
export function packagesError(names: readonly string[], cause?: unknown): AtpError {
  return unsupportedError(
    'ATP_LAB_PACKAGES',
    `the lab needs Debian packages that are not installed: ${names.join(', ')}`,
    {
      cause,
      context: { packages: names },
      remedy: `type: ${installCommand(names)}`,
      verdict: 'infrastructure',
    },
  )
}

function installCommand(names: readonly string[]): string {
  return `sudo apt-get update && sudo apt-get install --no-install-recommends -y ${names.join(' ')}`
}

/**
 * Installs what is missing and returns its names; as root or through sudo where that asks for no password.
 *
 * The system's own libvirt daemon is left as the packages configure it; the lab does not use it.
 *
 * @throws `ATP_LAB_PACKAGES` when it may not, with the command to type; `ATP_LAB_INSTALL` when apt fails.
 */
export async function installSystemPackages({
  also = [],
  onProgress,
  ...bounds
}: CallOptions & {
  /** Further packages to install with them. */
  also?: readonly string[]
  onProgress?: (text: string) => void
} = {}): Promise<string[]> {
  const options = { timeoutMs: INSTALL_TIMEOUT_MS, ...bounds }
  const missing = await missingSystemPackages(options, [...SYSTEM_PACKAGES, ...also])
  if (missing.length === 0) return []
  const sudo = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  if (sudo.length > 0 && !(await mayUseSudo(options))) throw packagesError(missing)
  onProgress?.(`installing ${missing.join(', ')}`)
  await aptGet(sudo, ['update'], options)
  await aptGet(sudo, ['install', '--no-install-recommends', '-y', ...missing], options)
  return missing
}

async function mayUseSudo(options: CallOptions): Promise<boolean> {
  try {
    return (await runProgram('sudo', ['-n', 'true'], options)).exitCode === 0
  } catch (error) {
    if (isNotInstalled(error)) return false
    throw error
  }
}

async function aptGet(sudo: string[], args: string[], options: CallOptions): Promise<void> {
  const settings = ['DEBIAN_FRONTEND=noninteractive', 'LC_ALL=C', 'apt-get', '-q']
  const [file = 'env', ...rest] = [...sudo, 'env', ...settings, ...args]
  const { exitCode, stdout, stderr } = await runProgram(file, rest, options)
  if (exitCode === 0) return
  const said = stderr.trim() || stdout.trim().slice(-2000)
  throw remoteError('ATP_LAB_INSTALL', `apt-get ${args.join(' ')} failed: ${said}`, {
    retryable: true,
    remedy: 'mend what apt says, then try again',
  })
}
