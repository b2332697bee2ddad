// Configuration of the framework's own tests. Specs of VMs run with "npx atp test".
import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

const common = { pool: 'forks' as const, environment: 'node' as const }

/** Where real machines take part, a busy machine may fail a test once; the summary names each one that did. */
const real = { ...common, retry: 1 }

/** Tests that count the lab's VMs, kill its broker or want it for themselves: one after the other. */
const EXCLUSIVE = ['exit-codes', 'faults', 'leaks', 'pristine', 'reconnect', 'sharing'].map(
  (name) => `tests/lab/${name}.test.ts`,
)
const lab = { ...real, testTimeout: 180_000, hookTimeout: 600_000 }

export default defineConfig({
  test: {
    reporters: ['default', './tests/summary-reporter.ts'],
    globalSetup: './tests/temporary-folder.ts',
    // "npm run coverage": the rooms between a spec and its hypervisors.
    coverage: {
      include: ['transport', 'protocols', 'hosts'].map((room) => `framework/${room}/**/*.ts`),
      reporter: ['text', 'html'],
      thresholds: { lines: 80, branches: 80 },
    },
    // They mostly wait for real peers.
    maxWorkers: Math.max(3, availableParallelism()),
    projects: [
      { test: { ...common, name: 'unit', include: ['tests/unit/**/*.test.ts'], testTimeout: 20_000 } },
      {
        test: {
          ...real,
          name: 'contract',
          include: ['tests/contract/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      { test: { ...lab, name: 'lab', include: ['tests/lab/**/*.test.ts'], exclude: EXCLUSIVE } },
      { test: { ...lab, name: 'lab-exclusive', include: EXCLUSIVE, fileParallelism: false } },
    ],
  },
})
