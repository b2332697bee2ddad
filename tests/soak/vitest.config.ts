// "npm run soak": what takes minutes or a whole machine. ATP_SOAK_MINUTES sets the length of the longest (default 30).
import { resolve } from 'node:path'
import { defineConfig } from 'vitest/config'

const HOUR_MS = 3_600_000

export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, '../..'),
    include: ['tests/soak/**/*.test.ts'],
    pool: 'forks',
    environment: 'node',
    // Each wants the machine for itself.
    fileParallelism: false,
    testTimeout: 4 * HOUR_MS,
    hookTimeout: HOUR_MS,
    teardownTimeout: 600_000,
    globalSetup: resolve(import.meta.dirname, '../temporary-folder.ts'),
  },
})
