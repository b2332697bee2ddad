/** Opens the session under the stock `vitest` command and editor extensions; `atp test` opens its own. */
import type { TestProject } from 'vitest/node'
import { loadConfig } from '../config/index.ts'
import { startSession, type SessionNotice } from './session.ts'
import './context.ts'

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const context = project.getProvidedContext().atp
  const config = await loadConfig(context.root, context.configFile)
  const { platformDoor, verification } = context
  const notify = ({ text }: SessionNotice) => process.stderr.write(`${text}\n`)
  const session = await startSession(config, context.run, notify, {
    platformDoor,
    verificationDoor: verification?.door,
  })
  return async () => {
    const leaked = await session.end()
    if (leaked > 0) process.stderr.write(`atp: ${leaked} VMs were still held and have been destroyed\n`)
  }
}
