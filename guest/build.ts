/** `npm run build -w guest`: the agent as one file that runs on any Node from 18.3, without anything beside it. */
import { chmodSync } from 'node:fs'
import { join } from 'node:path'
import { build } from 'vite'

const root = import.meta.dirname
await build({
  root,
  configFile: false,
  logLevel: 'warn',
  // Everything is in the file; what ws would like to have but does not need is left out.
  ssr: { noExternal: true, external: ['bufferutil', 'utf-8-validate'] },
  build: {
    ssr: 'bin/atp-verifier.ts',
    target: 'node18',
    outDir: 'dist',
    emptyOutDir: false,
    minify: false,
    rolldownOptions: { output: { entryFileNames: 'atp-verifier.mjs', codeSplitting: false } },
  },
})
chmodSync(join(root, 'dist/atp-verifier.mjs'), 0o755)
