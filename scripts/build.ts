/**
 * `npm run build`: the package as it is published, in `dist/`. Type stripping does not work below `node_modules`, so
 * the published package is compiled; its package.json is the repository's with the paths of the compiled files.
 */
import { execFileSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { bundleVerifier } from '../guest/bundle.ts'
import { bundleWebVerifier } from '../guest/web/bundle.ts'

const root = resolve(import.meta.dirname, '..')
const dist = join(root, 'dist')
rmSync(dist, { recursive: true, force: true })
execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
})
for (const path of ['bin/atp.js', 'schemas', 'README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'docs'])
  cpSync(join(root, path), join(dist, path), { recursive: true })
for (const path of ['guest/web/index.html', 'guest/web/style.css', 'guest/plugins', 'guest/install'])
  cpSync(join(root, path), join(dist, path), { recursive: true })
writeFileSync(join(dist, 'guest/web/agent.js'), await bundleWebVerifier())
mkdirSync(join(dist, 'guest/dist'), { recursive: true })
writeFileSync(join(dist, 'guest/dist/atp-verifier.mjs'), await bundleVerifier(), { mode: 0o755 })

interface Manifest extends Record<string, unknown> {
  exports: Record<string, string>
}
const {
  private: _private,
  devDependencies: _dev,
  scripts: _scripts,
  allowScripts: _allow,
  ...manifest
} = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest
// Not in the repository's own: there it would only make every npm command of an older system Node warn.
manifest['engines'] = { node: '^22.19.0 || ^24.0.0 || >=26.0.0' }
manifest['exports'] = Object.fromEntries(
  Object.entries(manifest.exports).map(([path, file]) => [
    path,
    file.endsWith('.ts') ? { types: file.replace(/\.ts$/, '.d.ts'), default: file.replace(/\.ts$/, '.js') } : file,
  ]),
) as never
writeFileSync(join(dist, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`)
process.stdout.write(`built ${dist}\n`)
