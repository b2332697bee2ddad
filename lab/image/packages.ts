import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { connectError, remoteError, unsupportedError, type CallOptions } from '../../framework/core/index.ts'
import { isNotInstalled, programEnv, runProgram, type ProgramResult } from '../run-program.ts'
import type { PackageUse } from './recipe.ts'

const APT_TIMEOUT_MS = 300_000

/** A package file on disk. */
export interface FetchedPackage {
  use: PackageUse
  /** File name of the archive: holds name, version and architecture. */
  file: string
}

/**
 * Fetches packages into `folder` through apt, which checks their signatures' chain. Works for ordinary users.
 * When the system's package lists are missing or outdated, lists of the lab's own are fetched into `aptState`.
 *
 * @throws `ATP_LAB_IMAGE_APT` without apt, `ATP_LAB_IMAGE_PACKAGE` for a package that no source has,
 * `ATP_LAB_IMAGE_NETWORK` when the sources cannot be reached, `ATP_LAB_IMAGE_DISK` when the disk is full.
 */
export async function fetchPackages(
  uses: readonly PackageUse[],
  { folder, aptState, signal }: { folder: string; aptState: string; signal?: AbortSignal },
): Promise<FetchedPackage[]> {
  try {
    return await download(uses, folder, [], { signal })
  } catch (error) {
    if (signal?.aborted || (error as { code?: string }).code === 'ATP_LAB_IMAGE_DISK') throw error
    const ownLists = await freshLists(aptState, { signal })
    return await download(uses, folder, ownLists, { signal })
  }
}

async function freshLists(aptState: string, options: CallOptions): Promise<string[]> {
  await mkdir(join(aptState, 'lists', 'partial'), { recursive: true })
  await mkdir(join(aptState, 'cache', 'archives', 'partial'), { recursive: true })
  const settings = ['-o', `Dir::State::Lists=${join(aptState, 'lists')}`, '-o', `Dir::Cache=${join(aptState, 'cache')}`]
  // Without this apt calls an update that reached no source a success.
  const strict = ['-o', 'APT::Update::Error-Mode=any']
  const update = await apt('apt-get', [...settings, ...strict, 'update'], options)
  if (update.exitCode !== 0) throw aptFailure('updating the package lists', update)
  return settings
}

async function download(
  uses: readonly PackageUse[],
  folder: string,
  settings: string[],
  { signal }: CallOptions,
): Promise<FetchedPackage[]> {
  const names = await Promise.all(uses.map((use) => realName(use, settings, { signal })))
  const result = await apt('apt-get', [...settings, 'download', ...names], { signal, cwd: folder })
  if (result.exitCode !== 0) throw aptFailure(`fetching ${names.join(' ')}`, result)
  const files = await readdir(folder)
  return uses.map((use, index) => {
    const [name] = (names[index] as string).split('=')
    const file = files.find((candidate) => candidate.startsWith(`${name}_`))
    if (!file) throw remoteError('ATP_LAB_IMAGE_PACKAGE', `apt-get download left no file of ${name} in ${folder}`)
    return { use, file: join(folder, file) }
  })
}

/** As apt takes it: with the version, where it must be a certain one. */
async function realName(use: PackageUse, settings: string[], options: CallOptions): Promise<string> {
  if (use.versionOf) {
    const { stdout, ...rest } = await apt('apt-cache', [...settings, 'policy', use.versionOf], options)
    const version = /^ +Candidate: (\d\S*)$/m.exec(stdout)?.[1]
    if (!version) throw aptFailure(`looking up the version of ${use.versionOf}`, { stdout, ...rest })
    return `${use.name}=${version}`
  }
  if (!use.via) return use.name
  const { stdout, ...rest } = await apt('apt-cache', [...settings, 'depends', use.via], options)
  const prefix = use.name.slice(0, -1)
  const found = [...stdout.matchAll(/Depends: (\S+)/g)].map(([, name]) => name).find((name) => name?.startsWith(prefix))
  if (!found) throw aptFailure(`looking up what ${use.via} depends on`, { stdout, ...rest })
  return found
}

async function apt(program: string, args: string[], options: CallOptions & { cwd?: string }): Promise<ProgramResult> {
  try {
    return await runProgram(program, ['-q', '-o', 'Acquire::Retries=1', ...args], {
      timeoutMs: APT_TIMEOUT_MS,
      ...options,
      env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    })
  } catch (error) {
    if (!isNotInstalled(error)) throw error
    throw unsupportedError('ATP_LAB_IMAGE_APT', `${program} is not installed, and packages of Debian are needed`, {
      cause: error,
      remedy: 'run the lab on Debian or a distribution made from it',
    })
  }
}

/** Tells by apt's own (untranslated) messages what went wrong; the message is quoted in every case. */
function aptFailure(what: string, result: ProgramResult): Error {
  const said = result.stderr.trim() || result.stdout.trim() || `exit code ${result.exitCode}`
  if (/No space left on device|enough free space/.test(said)) return diskFull(`${what}: ${said}`)
  if (/Unable to locate package|No packages found|has no installation candidate/.test(said)) {
    return unsupportedError('ATP_LAB_IMAGE_PACKAGE', `${what}: no package source has it: ${said}`, {
      remedy: 'enable the "main" component of Debian in /etc/apt/sources.list and run apt-get update',
    })
  }
  return connectError('ATP_LAB_IMAGE_NETWORK', `${what} failed: ${said}`, {
    retryable: true,
    remedy: 'check the network and the sources in /etc/apt, then try again',
  })
}

/** The error for a disk that filled up while building. */
export function diskFull(cause: string): Error {
  return unsupportedError('ATP_LAB_IMAGE_DISK', `the guest image cannot be built: ${cause}`, {
    remedy: 'free 500 MB there, or set ATP_HOME to a folder on another disk',
    verdict: 'infrastructure',
  })
}

/**
 * Unpacks the wanted members of a package below `root`, without unpacking the rest (a kernel package holds
 * 400 MB of modules).
 *
 * @throws `ATP_LAB_IMAGE_UNPACK` naming the package; `ATP_LAB_IMAGE_DISK`.
 */
export async function unpack(item: FetchedPackage, root: string, signal?: AbortSignal): Promise<void> {
  const env = { ...programEnv(), LC_ALL: 'C' }
  const reader = spawn('dpkg-deb', ['--fsys-tarfile', item.file], { stdio: ['ignore', 'pipe', 'pipe'], signal, env })
  const tar = spawn('tar', ['-x', '-f', '-', '-C', root, '--no-same-owner', '--wildcards', ...item.use.members], {
    stdio: [reader.stdout, 'ignore', 'pipe'],
    signal,
    env,
  })
  // The pipe belongs to tar now; a copy kept open here would hide tar's early end from the reader.
  reader.stdout.destroy()
  let said = ''
  for (const stream of [reader.stderr, tar.stderr as NodeJS.ReadableStream]) {
    stream.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-4096)))
  }
  const [[readerCode], [tarCode]] = await Promise.all([once(reader, 'close'), once(tar, 'close')])
  if (readerCode === 0 && tarCode === 0) return
  if (/No space left on device/.test(said)) throw diskFull(said.trim())
  throw remoteError('ATP_LAB_IMAGE_UNPACK', `unpacking ${item.file} failed: ${said.trim() || `exit code ${tarCode}`}`)
}
