import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** Sockets, pipes and child processes of this process, by the names the system has for them. */
export function ownResources(): Set<string> {
  const open = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      // The descriptor of this very listing.
      return ''
    }
  })
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').split(' ').filter(Boolean)
  return new Set([...open.filter((name) => /^(?:socket|pipe):/.test(name)), ...children.map((pid) => `process:${pid}`)])
}

/** What of these this process has and had not `before`. */
export function newResources(before: ReadonlySet<string>): string[] {
  return [...ownResources()].filter((name) => !before.has(name))
}
