/** `npm run build -w guest`: writes the agent as one file, `dist/atp-verifier.mjs`; with `--stdout` there. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundleVerifier } from './bundle.ts'

const text = await bundleVerifier()
if (process.argv.includes('--stdout')) {
  process.stdout.write(text)
} else {
  const folder = join(import.meta.dirname, 'dist')
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'atp-verifier.mjs'), text, { mode: 0o755 })
}
