import { test as base } from 'vitest'
import { memoryVm } from './memory-vm.ts'

export const test = base.extend('scenario', ({ signal }) => {
  const vm = memoryVm('vm-1', [], { exec: (line) => ({ exitCode: line.includes('spice') ? 3 : 0 }) })
  return { resolveVm: () => vm, signal }
})
