/** `npm run build -w guest`: writes the agent as one file, `dist/atp-verifier.mjs`. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bundleVerifier } from './bundle.ts'

const folder = join(import.meta.dirname, 'dist')
mkdirSync(folder, { recursive: true })
writeFileSync(join(folder, 'atp-verifier.mjs'), await bundleVerifier(), { mode: 0o755 })
