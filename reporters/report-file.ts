import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { configError, messageOf } from '../framework/core/index.ts'

/**
 * Writes a report so that readers see the old one or the new one, never a part.
 *
 * @throws `ATP_REPORT_WRITE`
 */
export async function writeReport(path: string, text: string): Promise<void> {
  const partial = `${path}.${process.pid}.partial`
  try {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(partial, text, 'utf8')
    await rename(partial, path)
  } catch (cause) {
    await rm(partial, { force: true }).catch(() => {})
    throw configError('ATP_REPORT_WRITE', `the report could not be written to ${path}: ${messageOf(cause)}`, {
      cause,
      context: { path },
      remedy: 'make the directory writable or name another file under "report" in the configuration',
    })
  }
}
