import { isBuiltin } from 'node:module'
import { build, type Rolldown } from 'vite'

/** One module for a browser with all that the entry imports. @throws when something of Node is among it. */
export async function browserBundle(entry: string): Promise<string> {
  const output = await build({
    configFile: false,
    logLevel: 'error',
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
