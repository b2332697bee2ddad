import type { CallOptions } from '../core/index.ts'
import type { ClockSource } from './clock.ts'
import type { VerifierAgentLink } from './server/agent-link.ts'

/** An agent's time is whole microseconds, or nearly so where it says nothing of an error. */
const CUT_NS = 1000n

/** The clock that stamps what an agent sees, read over its connection. Its own error widens the comparison. */
export function agentClock(link: VerifierAgentLink): ClockSource {
  let worstNs = 0n
  return {
    name: 'agent',
    get resolutionNs() {
      return 2n * worstNs + CUT_NS
    },
    async ping(options?: CallOptions) {
      const sentNs = process.hrtime.bigint()
      const { guestNs, errorNs } = await link.now(options)
      const receivedNs = process.hrtime.bigint()
      if (errorNs > worstNs) worstNs = errorNs
      // The earliest it can have been: what it is cut to covers the rest.
      return { sentNs, guestNs: guestNs - errorNs, receivedNs }
    },
  }
}
