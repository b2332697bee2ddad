import type { HostObserver, ObservedLink, PoolCount } from '../hosts/observer.ts'

/** Remembers which connections, states and uses of a process have not ended, so that they can be ended for it. */
export class OpenThings implements HostObserver {
  readonly #links = new Map<string, { link: ObservedLink; count: number }>()
  readonly #states = new Map<string, { host: string; state: string; count: number }>()

  readonly #pools = new Map<string, { host: string; what: PoolCount; count: number }>()

  linkOpened(link: ObservedLink): void {
    const key = JSON.stringify([link.host, link.role])
    const entry = this.#links.get(key) ?? { link, count: 0 }
    entry.count++
    this.#links.set(key, entry)
  }

  linkClosed({ host, role }: ObservedLink): void {
    const entry = this.#links.get(JSON.stringify([host, role]))
    if (entry) entry.count--
  }

  stateChanged({ host, from, to }: { host: string; from: string; to: string }): void {
    if (from !== 'disconnected') this.#count(host, from, -1)
    if (to !== 'disconnected') this.#count(host, to, 1)
  }

  callSettled(): void {}

  poolCounted(host: string, what: PoolCount, by: number): void {
    if (what === 'failed') return
    const key = JSON.stringify([host, what])
    const entry = this.#pools.get(key) ?? { host, what, count: 0 }
    entry.count += by
    this.#pools.set(key, entry)
  }

  poolTimed(): void {}

  /** Tells the observer the end of everything that is open. The process is gone, so nothing counts as lost. */
  closeAll(observer: HostObserver): void {
    for (const { link, count } of this.#links.values()) {
      for (let left = count; left > 0; left--) observer.linkClosed(link, undefined)
    }
    for (const { host, state, count } of this.#states.values()) {
      for (let left = count; left > 0; left--) observer.stateChanged({ host, from: state, to: 'disconnected' })
    }
    for (const { host, what, count } of this.#pools.values()) if (count !== 0) observer.poolCounted(host, what, -count)
    this.#links.clear()
    this.#states.clear()
    this.#pools.clear()
  }

  #count(host: string, state: string, by: number): void {
    const key = JSON.stringify([host, state])
    const entry = this.#states.get(key) ?? { host, state, count: 0 }
    entry.count += by
    this.#states.set(key, entry)
  }
}
