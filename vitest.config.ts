// Configuration of the framework's own tests. Specs of VMs run with "npx atp test".
import { defineConfig } from 'vitest/config'

const common = { pool: 'forks' as const, environment: 'node' as const }

export default defineConfig({
  test: {
    projects: [
      { test: { ...common, name: 'unit', include: ['tests/unit/**/*.test.ts'], testTimeout: 20_000 } },
      {
        test: {
          ...common,
          name: 'contract',
          include: ['tests/contract/**/*.test.ts'],
          testTimeout: 60_000,
          hookTimeout: 120_000,
        },
      },
      {
        test: {
          ...common,
          name: 'lab',
          include: ['tests/lab/**/*.test.ts'],
          testTimeout: 180_000,
          hookTimeout: 600_000,
          // They share the machine's two cores with real VMs.
          fileParallelism: false,
        },
      },
    ],
  },
})
