import type { Domain, DomainState, LifecycleEvent, LifecycleEventName } from '../protocols/libvirt/index.ts'
import type { SeenDomain } from './host-view.ts'
import type { EventKind } from './subscriptions.ts'

export interface HostLifecycleEvent extends LifecycleEvent {
  /**
   * Set on events that were not heard but concluded: the VM was found to have changed while the connection was lost.
   * `detail` is -1 then.
   */
  reconciled?: true
}

const UNKNOWN_DETAIL = -1

/** What state an event leaves its VM in; events that are not here leave it as it is. */
const STATE_AFTER: Partial<Record<LifecycleEventName, DomainState>> = {
  started: 'running',
  resumed: 'running',
  suspended: 'paused',
  pmsuspended: 'suspended',
  shutdown: 'shutdown',
  crashed: 'crashed',
  stopped: 'shutoff',
}

/** Events that lead from one state of an active VM to another. */
const EVENT_INTO: Partial<Record<DomainState, LifecycleEventName>> = {
  running: 'resumed',
  paused: 'suspended',
  suspended: 'pmsuspended',
  shutdown: 'shutdown',
  crashed: 'crashed',
}

/**
 * The events that lead from what was seen of a VM before to what is seen now; undefined = off or gone. A VM with
 * another id is another life of it. Definitions that came or went are not told, nor is a reset.
 */
export function eventsBetween(before: SeenDomain | undefined, after: SeenDomain | undefined): LifecycleEventName[] {
  if (!after) return before ? ['stopped'] : []
  const into = EVENT_INTO[after.state]
  const start: LifecycleEventName[] = after.state === 'running' || into === undefined ? ['started'] : ['started', into]
  if (!before) return start
  if (before.domain.id !== after.domain.id) return ['stopped', ...start]
  return into === undefined || before.state === after.state ? [] : [into]
}

/** Lifecycle events of one domain or all, with what was missed while the connection was lost. */
export function lifecycleKind(domain: Domain | undefined): EventKind<HostLifecycleEvent> {
  let known: Map<string, SeenDomain> | undefined
  /** VMs with events since the present look at the host began: those are newer than what it shows. */
  let fresh: Set<string> | undefined
  return {
    key: `lifecycle/${domain?.uuid ?? '*'}`,
    what: `lifecycle events of ${domain ? `"${domain.name}"` : 'all VMs'}`,
    subscribe: (client, handler) => client.onLifecycle(domain, handler),
    note({ domain: source, event }) {
      fresh?.add(source.uuid)
      const state = STATE_AFTER[event]
      if (state === 'shutoff') known?.delete(source.uuid)
      else if (state) known?.set(source.uuid, { domain: source, state })
    },
    async missed(view) {
      fresh = new Set()
      const first = known === undefined
      known ??= new Map()
      try {
        const now = await view.active(domain?.uuid)
        const events: HostLifecycleEvent[] = []
        for (const uuid of new Set([...known.keys(), ...now.keys()])) {
          if (fresh.has(uuid)) continue
          const [before, after] = [known.get(uuid), now.get(uuid)]
          if (after) known.set(uuid, after)
          else known.delete(uuid)
          const source = (after ?? before)?.domain as Domain
          for (const event of first ? [] : eventsBetween(before, after))
            events.push({ domain: source, event, detail: UNKNOWN_DETAIL, reconciled: true })
        }
        return events
      } catch (error) {
        if (first) known = undefined
        throw error
      } finally {
        fresh = undefined
      }
    },
  }
}
