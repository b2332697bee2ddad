/** Runs the specs of a directory under Vitest with the scenario plugin, VMs in memory; prints what came of them as JSON. */
import { createVitest } from 'vitest/node'
import { scenarioPlugin } from '../../../framework/scenario/vite-plugin.ts'

const [root = '', ...filters] = process.argv.slice(2)
const here = (path: string) => new URL(path, import.meta.url).pathname
const project = here('../../../')
const vitest = await createVitest(
  { config: false, root, watch: false, reporters: [] },
  {
    test: {
      include: ['**/*.spec.{ts,yaml,json}'],
      includeTaskLocation: true,
      tags: [{ name: 'smoke' }],
      fsModuleCache: false,
      server: { deps: { external: [new RegExp(`^${project}framework/`)] } },
    },
    plugins: [scenarioPlugin()],
    resolve: {
      alias: [
        { find: /^@ocloudview\/atp$/, replacement: here('./vitest-shim.ts') },
        { find: /^@ocloudview\/atp\/scenario$/, replacement: here('../../../framework/scenario/index.ts') },
      ],
    },
  },
)
try {
  await vitest.start(filters)
  const place = (error: { stacks?: { file: string; line: number; column: number }[]; code?: unknown }) => {
    const [top] = error.stacks ?? []
    return { code: error.code, top: top && `${top.file.slice(root.length + 1)}:${top.line}:${top.column}` }
  }
  const found = vitest.state.getTestModules().flatMap((module) => [
    ...module.errors().map((error) => ({ file: module.relativeModuleId, ...place(error) })),
    ...[...module.children.allTests()].map((test) => ({
      name: test.name,
      at: `${module.relativeModuleId}:${test.location?.line}`,
      tags: test.tags,
      meta: test.meta(),
      state: test.result().state,
      ...place(test.result().errors?.[0] ?? {}),
    })),
  ])
  process.stdout.write(`\nRESULT ${JSON.stringify(found)}\n`)
} finally {
  await vitest.close()
  // The failures are what is being looked at.
  process.exitCode = 0
}
