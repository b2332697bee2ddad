import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Plugin } from 'vite'
import { isAtpError } from '../core/index.ts'
import { stepRegistry } from './default-registry.ts'
import { loadScenario, type LoadedScenario } from './load.ts'
import { invalidModule, specModule } from './spec-module.ts'

/** Part of the key under which translated specs are cached: changes whenever the translation does. */
export const CACHE_VERSION = 'scenario-2'

const SPEC = /\.spec\.(?:ya?ml|json)(?:$|\?)/

/**
 * What the translation of a file depends on beside its content: this program and the step kinds it knows.
 * `false` for a file that also depends on other files and so must not be cached.
 */
export function cacheKey(id: string, sourceCode: string): string | false {
  if (!SPEC.test(id)) return CACHE_VERSION
  if (/scenario\.run\b/.test(sourceCode)) return false
  return `${CACHE_VERSION} ${createHash('sha256').update(stepRegistry.fingerprint()).digest('base64url')}`
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
      defineCacheKeyGenerator(({ id, sourceCode }) => cacheKey(id, sourceCode))
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
