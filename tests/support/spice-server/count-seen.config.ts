// The contract tests of SPICE, with what servers sent noted in the file ATP_SPICE_SEEN; see scripts/spice-tables.ts.
import { resolve } from 'node:path'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, '../../..'),
    include: ['tests/contract/spice/**/*.test.ts'],
    pool: 'forks',
    maxWorkers: 2,
    retry: 1,
    testTimeout: 60_000,
    hookTimeout: 120_000,
    setupFiles: resolve(import.meta.dirname, 'count-seen.ts'),
    globalSetup: resolve(import.meta.dirname, '../../temporary-folder.ts'),
  },
})
