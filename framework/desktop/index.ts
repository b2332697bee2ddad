export type * from './api.ts'
export type { Pool, PoolOptions, VmOptions } from './pool.ts'
export { createVm } from './create-vm.ts'
export { DesktopVm } from './desktop-vm.ts'
