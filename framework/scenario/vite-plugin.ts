import { readFile } from 'node:fs/promises'
import type { Plugin } from 'vite'
import { isAtpError } from '../core/index.ts'
import { stepRegistry } from './default-registry.ts'
import { loadScenario, type LoadedScenario } from './load.ts'
import { invalidModule, specModule } from './spec-module.ts'

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
    enforce: 'pre',
    configureVitest({
      defineCacheKeyGenerator,
    }: {
      defineCacheKeyGenerator(make: (file: { id: string; sourceCode: string }) => string | false): void
    }) {
      defineCacheKeyGenerator(({ id, sourceCode }) => (includesFiles(id, sourceCode) ? false : CACHE_VERSION))
    },
    configResolved({ plugins }: { plugins: readonly Plugin[] }) {
      // Vite's own JSON plugin would take a JSON spec for data, and what became of it for broken JSON.
      for (const plugin of plugins) {
        const { transform } = plugin
        if (!plugin.name.endsWith('vite-json') || typeof transform !== 'function') continue
        plugin.transform = function (code, id, ...rest) {
          return SPEC.test(id) ? null : transform.call(this, code, id, ...rest)
        }
      }
    },
    transform: {
      filter: { id: SPEC },
      async handler(_code, id) {
        const file = id.replace(/\?.*$/, '')
        const text = await readFile(file, 'utf8')
        let loaded: LoadedScenario
        try {
          loaded = await loadScenario({ text }, { file })
        } catch (error) {
          if (!isAtpError(error, 'ATP_SCENARIO_INVALID')) throw error
          return { code: invalidModule(error), map: { mappings: '' } as never, moduleType: 'js' }
        }
        for (const include of loaded.includes) this.addWatchFile(include)
        const { code, map } = specModule(loaded.scenario, text, stepRegistry)
        return { code, map: map as never, moduleType: 'js' }
      },
    },
  } as Plugin
}
