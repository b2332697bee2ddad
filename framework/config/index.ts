export * from './define.ts'
export { loadConfig, resolveConfig, type ResolvedConfig } from './load.ts'
export { configSchema } from './schema.ts'
