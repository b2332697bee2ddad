/** The stand-in for an OCloudView platform. */
export { startPlatform, type Platform } from './platform.ts'
export { servePlatform } from './serve.ts'
export { DEFAULT_BEHAVIOUR, type PlatformBehaviour, type PlatformOptions } from './options.ts'
export { SteppedClock } from './clock.ts'
export { LibvirtWorld } from './libvirt-world.ts'
export { MemoryWorld } from './memory-world.ts'
export { PLATFORM_OPERATIONS } from './operations/index.ts'
