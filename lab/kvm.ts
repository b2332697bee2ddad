import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { once } from 'node:events'
import { interrupted, type CallOptions } from '../framework/core/index.ts'
import { daemonUser } from './daemon-user.ts'
import { readFacts, writeFacts } from './facts.ts'
import type { GuestImage } from './image/build.ts'
import { withLock } from './lock.ts'
import type { LabPaths } from './paths.ts'
import { programEnv } from './run-program.ts'

/** Hardware virtualisation boots the kernel in well under a second; one that hangs hangs for good. */
const DEADLINE_MS = 8000
const BOOTED = 'guest booted'
const LOCK_TIMEOUT_MS = 60_000

export interface KvmVerdict {
  works: boolean
  /** One sentence. */
  reason: string
}

/** The remembered verdict, or undefined while nobody has tried. */
export async function knownKvmVerdict(paths: LabPaths): Promise<KvmVerdict | undefined> {
  const { kvm } = await readFacts(paths)
  return kvm && kvm.key === (await machineKey()) ? { works: kvm.works, reason: kvm.reason } : undefined
}

/**
 * Whether hardware virtualisation works for the lab's VMs. A machine can have `/dev/kvm`, accept the first calls
 * and still hang every guest, so the guest's kernel is really booted once; the verdict holds until the machine
 * restarts.
 */
export async function kvmVerdict(paths: LabPaths, image: GuestImage, options: CallOptions = {}): Promise<KvmVerdict> {
  const known = await knownKvmVerdict(paths)
  if (known) return known
  return await withLock(`kvm ${paths.home}`, { timeoutMs: LOCK_TIMEOUT_MS, ...options }, async () => {
    const meanwhile = await knownKvmVerdict(paths)
    if (meanwhile) return meanwhile
    const verdict = await probe(image, options)
    await writeFacts(paths, { ...(await readFacts(paths)), kvm: { key: await machineKey(), ...verdict } })
    return verdict
  })
}

async function machineKey(): Promise<string> {
  const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim()
  return `${boot} ${existsSync('/dev/kvm')}`
}

async function probe(image: GuestImage, options: CallOptions): Promise<KvmVerdict> {
  if (!existsSync('/dev/kvm')) return { works: false, reason: 'this machine has no /dev/kvm' }
  const { prefix, name } = await daemonUser(options)
  const args = ['-accel', 'kvm', '-m', '128', '-nodefaults', '-display', 'none', '-no-reboot', '-serial', 'stdio']
  const boot = ['-kernel', image.kernel, '-initrd', image.initrd, '-append', 'console=ttyS0 quiet']
  // The guest reports only after it found the agent's port.
  const port = [
    '-device',
    'virtio-serial-pci',
    '-chardev',
    'null,id=agent',
    '-device',
    'virtserialport,chardev=agent,name=org.qemu.guest_agent.0',
  ]
  const [file = '', ...rest] = [...prefix, 'qemu-system-x86_64', ...args, ...boot, ...port]
  const qemu = spawn(file, rest, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: programEnv(),
    timeout: DEADLINE_MS,
    killSignal: 'SIGKILL',
    signal: options.signal,
  })
  let booted = false
  let said = ''
  qemu.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString('utf8')).slice(-1000)))
  let console = ''
  qemu.stdout.on('data', (chunk: Buffer) => {
    console = (console + chunk.toString('latin1')).slice(-4096)
    if (console.includes(BOOTED)) {
      booted = true
      qemu.kill('SIGKILL')
    }
  })
  await once(qemu, 'close').catch((error: unknown) => {
    throw options.signal?.aborted ? interrupted('probing hardware virtualisation', options.signal) : error
  })
  if (booted) return { works: true, reason: 'hardware virtualisation boots the guest' }
  const cause = said.trim().split('\n')[0]
  return {
    works: false,
    reason:
      cause || `/dev/kvm is there, but a guest of user "${name}" did not boot with it within ${DEADLINE_MS / 1000} s`,
  }
}
