// The tests of bad input alone, as spice-mutations.test.ts runs them.
import { resolve } from 'node:path'
import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    root: resolve(import.meta.dirname, '../../..'),
    include: ['tests/unit/spice/**/*.test.ts', 'tests/unit/desktop/webdav-server.test.ts'],
    // One process, so that one that hangs can be ended with all that belongs to it.
    pool: 'threads',
    maxWorkers: 1,
    testTimeout: 3_600_000,
    setupFiles: resolve(import.meta.dirname, 'count-runs.ts'),
  },
})
