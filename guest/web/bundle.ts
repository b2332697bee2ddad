import { isBuiltin } from 'node:module'
import { join } from 'node:path'
import { build, type Rolldown } from 'vite'
import { packageVersion } from '../../framework/core/package-version.ts'

/**
 * One module for a browser with all that the entry imports.
 *
 * @param define constants by name
 * @throws when something of Node is among it.
 */
export async function browserBundle(entry: string, define: Record<string, string> = {}): Promise<string> {
  const output = await build({
    configFile: false,
    logLevel: 'error',
    define: Object.fromEntries(Object.entries(define).map(([name, value]) => [name, JSON.stringify(value)])),
    build: { write: false, target: 'es2022', minify: false, lib: { entry, formats: ['es'], fileName: 'bundle' } },
    plugins: [
      {
        name: 'nothing-of-node',
        enforce: 'pre',
        resolveId(source, importer) {
          if (isBuiltin(source)) throw new Error(`${importer} imports ${source}, which no browser has`)
        },
      },
    ],
  })
  const [bundle] = output as Rolldown.RolldownOutput[]
  const chunks = bundle?.output ?? []
  if (chunks.length !== 1) throw new Error(`${entry} makes ${chunks.length} files`)
  return chunks[0].code
}

/** The script of the web verifier's page. */
export function bundleWebVerifier(): Promise<string> {
  return browserBundle(join(import.meta.dirname, 'main.ts'), { ATP_VERSION: packageVersion() })
}
