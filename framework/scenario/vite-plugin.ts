import type { Plugin } from 'vite'
import { isAtpError } from '../core/index.ts'
import { codeFrame } from '../evidence/code-frame.ts'
import { stepRegistry } from './default-registry.ts'
import { loadScenario, type LoadedScenario } from './load.ts'
import type { Problem } from './model/index.ts'
import { specModule } from './spec-module.ts'
import { readFile } from 'node:fs/promises'

/** Part of the key under which translated specs are cached: changes whenever the translation does. */
export const CACHE_VERSION = 'scenario-1'

const SPEC = /\.spec\.(?:ya?ml|json)(?:$|\?)/

/** A file whose translation depends on other files must not be cached under its own content alone. */
export function includesFiles(id: string, sourceCode: string): boolean {
  return SPEC.test(id) && /scenario\.run\b/.test(sourceCode)
}

/** Turns `*.spec.yaml`, `*.spec.yml` and `*.spec.json` into test modules. */
export function scenarioPlugin(): Plugin {
  return {
    name: 'atp:scenario',
    configureVitest({ defineCacheKeyGenerator }: { defineCacheKeyGenerator(make: (file: { id: string; sourceCode: string }) => string | false): void }) {
      defineCacheKeyGenerator(({ id, sourceCode }) => (includesFiles(id, sourceCode) ? false : CACHE_VERSION))
    },
    transform: {
      // After Vite's own JSON plugin, which would take the result for JSON.
      order: 'post',
      filter: { id: SPEC },
      async handler(_code, id) {
        const file = id.replace(/\?.*$/, '')
        const text = await readFile(file, 'utf8')
        let loaded: LoadedScenario
        try {
          loaded = await loadScenario({ text }, { file })
        } catch (error) {
          if (!isAtpError(error, 'ATP_SCENARIO_INVALID')) throw error
          const [first] = error.context['problems'] as Problem[]
          const { line, column } = first ?? { line: 1, column: 1 }
          const loc = { file, line, column: column - 1 }
          return this.error({ message: error.message, name: error.name, id: file, loc, frame: codeFrame(text, line, column), cause: error } as never)
        }
        for (const include of loaded.includes) this.addWatchFile(include)
        const { code, map } = specModule(loaded.scenario, text, stepRegistry)
        return { code, map: map as never, moduleType: 'js' }
      },
    },
  } as Plugin
}
