import { join } from 'node:path'
import { build, type Rolldown } from 'vite'

/** The agent as the text of one module that runs on any Node from 18.3, without anything beside it. */
export async function bundleVerifier(): Promise<string> {
  const output = (await build({
    root: import.meta.dirname,
    configFile: false,
    logLevel: 'warn',
    // Everything is in the file; what ws would like to have but does not need is left out.
    ssr: { noExternal: true, external: ['bufferutil', 'utf-8-validate'] },
    build: {
      ssr: join(import.meta.dirname, 'bin/atp-verifier.ts'),
      target: 'node18',
      write: false,
      minify: false,
      rolldownOptions: { output: { codeSplitting: false } },
    },
  })) as Rolldown.RolldownOutput
  const [chunk] = output.output
  return chunk.code
}
