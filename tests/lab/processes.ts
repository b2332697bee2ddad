/** What really runs on this machine, told by /proc and not by the framework. */
import { readdirSync, readFileSync } from 'node:fs'
import { sleep } from '../../framework/core/index.ts'
import { labPaths } from '../../lab/paths.ts'

export interface LabVm {
  pid: number
  name: string
}

/** QEMU processes of the lab of this environment that were leased. */
export function labVms(home = labPaths().home): LabVm[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      let words: string[]
      try {
        words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      } catch {
        return []
      }
      if (!words[0]?.includes('qemu-system') || !words.some((word) => word.includes(`${home}/`))) return []
      const name = words.find((word) => word.startsWith('guest='))?.match(/^guest=([^,]+)/)?.[1] ?? '?'
      // Names the broker hands out; VMs of the lab's own tests are called otherwise.
      return /^vm-\d+$/.test(name) ? [{ pid: Number(pid), name }] : []
    })
}

/** VMs of the lab that were not there before; the list shrinks as they go. */
export function vmsBeyond(before: LabVm[]): LabVm[] {
  const known = new Set(before.map((vm) => vm.pid))
  return labVms().filter((vm) => !known.has(vm.pid))
}

/** QEMU processes of the VM with this name. */
export function vmsNamed(name: string): LabVm[] {
  return labVms().filter((vm) => vm.name === name)
}

/** Command lines that name a folder. */
export function processesOf(folder: string): string[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')]
      } catch {
        return []
      }
    })
    .filter((line) => line.includes(`${folder}/`))
}

/** Waits until a condition on the real processes holds; false when it never did. */
export async function within(timeoutMs: number, holds: () => boolean): Promise<boolean> {
  const end = performance.now() + timeoutMs
  while (performance.now() < end) {
    if (holds()) return true
    await sleep(50)
  }
  return holds()
}
