import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** What this process holds of the system: for tests that compare before and after. */
export interface OwnResources {
  sockets: number
  pipes: number
  /** Child processes. */
  children: number
}

export function ownResources(): OwnResources {
  const targets = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`)
    } catch {
      // The descriptor of this very listing.
      return ''
    }
  })
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim()
  return {
    sockets: targets.filter((target) => target.startsWith('socket:')).length,
    pipes: targets.filter((target) => target.startsWith('pipe:')).length,
    children: children === '' ? 0 : children.split(' ').length,
  }
}
