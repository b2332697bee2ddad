/** Pools of desktops that a platform makes, found on the hypervisors behind it. */
export type * from './api.ts'
export { cleanUp } from './clean-up.ts'
export { compareWorlds } from './compare-worlds.ts'
export { createAndConnect } from './create-and-connect.ts'
export { createPool, newPoolName } from './create-pool.ts'
export { destroyPool } from './destroy-pool.ts'
export { reachOf } from './host-directory.ts'
export { Locator } from './locator.ts'
