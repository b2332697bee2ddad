import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const FILES = {
  'canned-platform': import.meta.resolve('./canned-platform.ts'),
  'memory-platform': import.meta.resolve('./memory-platform.ts'),
}

/** What the client talks to, in a process of its own, so that neither side waits for the other's JavaScript. */
export interface VdiPeer {
  url: string
  username: string
  password: string
  stop(): Promise<void>
}

/** What a peer's process tells when it answers. */
export type Hello = Omit<VdiPeer, 'stop'>

/** Starts `canned-platform.ts` or `memory-platform.ts`; resolves when it answers. */
export async function startVdiPeer(name: keyof typeof FILES): Promise<VdiPeer> {
  const child: ChildProcess = fork(fileURLToPath(FILES[name]), [], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const exited = once(child, 'exit')
  const gone = exited.then(() => {
    throw new Error(`${name} ended before it answered`)
  })
  gone.catch(() => {})
  const [hello] = (await Promise.race([once(child, 'message'), gone])) as [Hello]
  return {
    ...hello,
    stop: async () => {
      // The peer ends with its channel.
      child.disconnect()
      await exited
    },
  }
}
