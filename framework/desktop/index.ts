export type * from './api.ts'
export type { Checkpoint, Pool, PoolOptions, Preparation, VmOptions } from './pool.ts'
export { createVm } from './create-vm.ts'
export { DesktopVm } from './desktop-vm.ts'
