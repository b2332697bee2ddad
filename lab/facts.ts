import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { LabPaths } from './paths.ts'

/** What was found out about this machine once and holds until `key` changes. */
export interface Facts {
  kvm?: { key: string; works: boolean; reason: string }
}

export async function readFacts(paths: LabPaths): Promise<Facts> {
  try {
    return JSON.parse(await readFile(paths.facts, 'utf8')) as Facts
  } catch {
    // Missing or damaged: found out again.
    return {}
  }
}

export async function writeFacts(paths: LabPaths, facts: Facts): Promise<void> {
  await mkdir(dirname(paths.facts), { recursive: true })
  const next = `${paths.facts}.${process.pid}`
  await writeFile(next, JSON.stringify(facts))
  await rename(next, paths.facts)
}
