import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

const ATP = resolve(import.meta.dirname, '../../bin/atp.js')

/** What `atp lab platform --json` says of itself. */
export interface PlatformProcess {
  url: string
  adminUser: string
  adminPassword: string
  hosts: { name: string; uri: string }[]
  /** Ends it with its VMs. */
  stop(): Promise<void>
}

/** Starts `atp lab platform` in the lab of this process; resolves when it answers. */
export async function startPlatformProcess(home: string): Promise<PlatformProcess> {
  const child = spawn(process.execPath, [ATP, 'lab', 'platform', '--json', '--database', join(home, 'platform.db')], {
    stdio: ['ignore', 'pipe', 'inherit'],
    // Ctrl-C is this process' to handle.
    detached: true,
  })
  const exited = once(child, 'exit')
  const { value, done } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next()
  if (done) throw new Error('atp lab platform ended before it answered: its reason is above')
  return {
    ...(JSON.parse(value) as Omit<PlatformProcess, 'stop'>),
    stop: async () => {
      child.kill('SIGTERM')
      await exited
    },
  }
}
