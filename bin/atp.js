#!/usr/bin/env node
// Plain JavaScript that every Node can parse: checks the version first, then loads the command line, compiled in
// the published package, as source (type stripping) in the repository.
import { existsSync } from 'node:fs'
import * as nodeModule from 'node:module'

const version = process.versions.node
const [major = 0, minor = 0] = version.split('.').map(Number)
const supported = (major === 22 && minor >= 19) || major === 24 || major >= 26

if (supported) {
  // Compiled code is kept between runs; worker processes and the broker inherit the place.
  nodeModule.enableCompileCache?.()
  process.env.NODE_COMPILE_CACHE ??= nodeModule.getCompileCacheDir?.() ?? ''
  const compiled = new URL('../framework/cli/main.js', import.meta.url)
  const main = existsSync(compiled) ? compiled : new URL('../framework/cli/main.ts', import.meta.url)
  await import(main.href)
} else {
  console.error(
    `atp: Node ${version} is not supported; use 22.19 or later, 24, or 26 or later (23 and 25 are not supported by Vitest). ` +
      `"npm install --save-dev node@24" gives a project its own.`,
  )
  process.exitCode = 2
}
