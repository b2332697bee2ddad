// From a bare clone to a working one: plain JavaScript for the system's Node (20 or later), no dependencies.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
const node = join(root, 'node_modules', '.bin', 'node')
const stamp = join(root, 'node_modules', '.atp-lock-hash')

/** Installs the dependencies unless they are those of the lock file already. */
export function ensureDependencies() {
  const major = Number(process.versions.node.split('.')[0])
  if (major < 20) fail(`Node ${process.versions.node} is too old to set the project up; install Node 20 or later`)
  const wanted = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  const present = existsSync(stamp) && existsSync(node) ? readFileSync(stamp, 'utf8') : ''
  if (present === wanted) return
  console.error('atp: installing npm packages …')
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (npm.status !== 0) fail('"npm ci" failed; its output above says why')
  if (!existsSync(node))
    fail('the npm package "node" did not install its binary; allow its install script and run "npm ci" again')
  writeFileSync(stamp, wanted)
}

/** Runs the project's own Node; resolves to the exit code. Ctrl-C reaches the child through the process group. */
export function run(args, { tolerate = false } = {}) {
  return new Promise((resolve) => {
    const env = { ...process.env, PATH: `${join(root, 'node_modules', '.bin')}:${process.env.PATH}` }
    const child = spawn(node, args, { cwd: root, stdio: 'inherit', env })
    const ignore = () => {}
    const forward = () => child.kill('SIGTERM')
    process.on('SIGINT', ignore)
    process.on('SIGTERM', forward)
    child.on('exit', (code, signal) => {
      process.off('SIGINT', ignore)
      process.off('SIGTERM', forward)
      const status = code ?? 128 + ({ SIGINT: 2, SIGTERM: 15, SIGKILL: 9 }[signal] ?? 1)
      if (status !== 0 && !tolerate) process.exit(status)
      resolve(status)
    })
  })
}

function fail(message) {
  console.error(`atp: ${message}`)
  process.exit(2)
}
