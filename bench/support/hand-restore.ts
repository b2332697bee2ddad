import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { basename, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { daemonUser } from '../../lab/daemon-user.ts'
import { createLabProvider } from '../../lab/index.ts'

const SCRIPT = join(import.meta.dirname, 'hand-restore.py')

/** Restores the lab's VMs with python3-libvirt, without anything of ours: what the product is compared with. */
export interface HandRestore {
  /** libvirt as Python knows it. */
  readonly libvirt: string
  /** Makes all VMs; milliseconds until the last guest agent answered. */
  restore(): Promise<number>
  /** The same, and each guest knows its own name and the time, as the lab's do. */
  restoreNamed(): Promise<number>
  /** Removes them. */
  destroy(): Promise<void>
  stop(): Promise<void>
}

/** Starts the script; `parallel` VMs are restored at a time on each host. */
export async function startHandRestore(
  vms: { host: string; names: string[] }[],
  { profile, parallel }: { profile: string; parallel: number },
): Promise<HandRestore> {
  const { uid, gid } = await daemonUser()
  const hosts = await savedHosts(vms, profile)
  const child = spawn('/usr/bin/python3', [SCRIPT], { stdio: ['pipe', 'pipe', 'inherit'] })
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const answer = async () => {
    const { value, done } = await lines.next()
    if (done) throw new Error(`${basename(SCRIPT)} ended: its reason is above`)
    return value
  }
  child.stdin.write(`${JSON.stringify({ parallel, uid, gid, hosts })}\n`)
  const ask = async (word: string) => {
    child.stdin.write(`${word}\n`)
    return Number(await answer())
  }
  return {
    libvirt: await answer(),
    restore: () => ask('restore'),
    restoreNamed: () => ask('restore-named'),
    destroy: async () => void (await ask('destroy')),
    stop: async () => {
      child.stdin.end()
      await exited
    },
  }
}

/** What the script needs to know of each host: its save file, and how the VM in it is called. */
async function savedHosts(vms: { host: string; names: string[] }[], profile: string) {
  const provider = createLabProvider()
  try {
    return await Promise.all(
      vms.map(async ({ host: id, names }) => {
        const [{ host }, { snapshot }] = await Promise.all([provider.connect(id), provider.material(id, profile)])
        const { xml } = snapshot.header
        const element = (name: string) => new RegExp(`<${name}>[^<]*</${name}>`).exec(xml)?.[0]
        return {
          uri: host.uri,
          folder: dirname(snapshot.folder),
          save: snapshot.file,
          xml,
          oldName: element('name'),
          oldUuid: element('uuid'),
          template: snapshot.folder,
          vms: names,
        }
      }),
    )
  } finally {
    await provider.close()
  }
}
