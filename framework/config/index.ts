export * from './define.ts'
export { loadConfig, resolveConfig, type ResolvedConfig } from './load.ts'
export type { ResolvedHost } from './resolve-host.ts'
export { configSchema } from './schema.ts'
