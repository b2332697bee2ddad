import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { DesktopVm } from '../../../framework/desktop/index.ts'

const SOURCE = resolve(import.meta.dirname, 'saboteur.c')
const PROGRAM = '/tmp/saboteur'

/** Why programs for the guest cannot be made here; undefined when they can. */
export const missingCompiler =
  spawnSync('cc', ['--version']).status === 0 ? undefined : 'no C compiler is installed: apt-get install tcc libc6-dev'

/**
 * What a saboteur does at an input, counted from 1: a press, a position or a motion.
 *
 * - `drop`: every `at`th press with its release, position or motion.
 * - `double`: the stroke comes twice. `swap`: it comes after the next one. `stick`: its release never comes.
 * - `alter`: the key of code `amount` comes instead. `foreign`: that key comes as well. `shift`: a value is off by it.
 * - `late`: everything from here on comes `amount` ms later. `silent`: nothing comes any more.
 * - `garbage`: `amount` random bytes come first. `cut`: the last `amount` bytes of the record are missing.
 * - `dropped`: the kernel says that it dropped events. `step`: its clock is `amount` seconds ahead from here on.
 * - `die`: the device ends. `grab`: another program has it for itself, from the start.
 */
export type Damage =
  | { kind: 'drop' | 'double' | 'swap' | 'stick' | 'silent' | 'dropped' | 'die' | 'grab'; at: number }
  | { kind: 'alter' | 'foreign' | 'shift' | 'late' | 'garbage' | 'cut' | 'step'; at: number; amount: number }

/** Makes the saboteur and brings it into a guest; once for each VM. */
export async function bringSaboteur(vm: DesktopVm): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'saboteur-'))
  try {
    const program = join(folder, 'saboteur')
    const { status, stderr } = spawnSync('cc', ['-O1', '-o', program, SOURCE], { encoding: 'utf8' })
    if (status !== 0) throw new Error(stderr)
    await vm.guest.file(PROGRAM).write(readFileSync(program))
    await run(vm, `chmod +x ${PROGRAM}`)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/**
 * Puts a saboteur between an input device of the guest and all who open it from now on. It works between the kernel
 * and its readers, so that what it drops is what a guest drops.
 *
 * @param device the link of the lab's guest: `ps2-keyboard`, `virtio-tablet`, …
 */
export async function sabotage(vm: DesktopVm, device: string, damage: Damage): Promise<AsyncDisposable> {
  const amount = 'amount' in damage ? ` ${damage.amount}` : ''
  const [real, fifo] = ['/tmp/saboteur.device', '/tmp/saboteur.fifo']
  const node = await run(vm, `readlink -f /dev/input/atp/${device}`)
  const minor = 64 + Number(/event(\d+)$/.exec(node)?.[1])
  const aside = damage.kind === 'grab' ? '' : `mkfifo ${fifo}; mount -o bind ${fifo} ${node}; `
  const pid = await run(
    vm,
    `rm -f ${real} ${fifo}; mknod ${real} c 13 ${minor}; ${aside}` +
      `${PROGRAM} ${real} ${fifo} ${damage.kind} ${damage.at}${amount} >/dev/null 2>&1 & echo $!`,
  )
  return {
    async [Symbol.asyncDispose]() {
      await run(vm, `kill ${pid} 2>/dev/null; ${aside ? `umount -l ${node}` : 'true'}`)
    },
  }
}

async function run(vm: DesktopVm, line: string): Promise<string> {
  const { stdoutText, stderrText, exitCode } = await vm.guest.shell(line)
  if (exitCode !== 0) throw new Error(`"${line}" ended with ${exitCode}: ${stderrText}`)
  return stdoutText.trim()
}
