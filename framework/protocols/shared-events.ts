import type { MonitorEvent, ProtocolTarget } from './protocol.ts'

/**
 * The same target with one registration for all who want its events: a libvirt daemon refuses a second one for
 * the same VM on the same connection.
 */
export function shareMonitorEvents(target: ProtocolTarget): ProtocolTarget {
  const handlers = new Set<(event: MonitorEvent) => void>()
  let registration: Promise<() => Promise<void>> | undefined
  const register = () => {
    const registering = target.onMonitorEvent((event) => {
      for (const handler of handlers) handler(event)
    })
    registering.catch(() => {
      if (registration === registering) registration = undefined
    })
    return registering
  }
  return {
    ...target,
    async onMonitorEvent(handler) {
      // A function of its own for each caller, so that the same handler may be given twice.
      const own = (event: MonitorEvent) => handler(event)
      handlers.add(own)
      registration ??= register()
      const mine = registration
      try {
        await mine
      } catch (error) {
        handlers.delete(own)
        throw error
      }
      return async () => {
        if (!handlers.delete(own) || handlers.size > 0 || registration !== mine) return
        registration = undefined
        await (
          await mine
        )()
      }
    },
  }
}
