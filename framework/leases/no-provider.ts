import { unsupportedError } from '../core/index.ts'
import type { VmProvider } from './api.ts'

/** For a broker that hands out locks and attached VMs only. */
export const noProvider: VmProvider = {
  id: 'none',
  profiles: [],
  hosts: async () => [],
  nameOf: (index) => `vm-${index}`,
  create: async ({ name }) => {
    throw unsupportedError('ATP_LEASE_NO_PROVIDER', `${name} cannot be made: no provider of VMs is configured`)
  },
  own: async () => {},
  destroy: async () => {},
  list: async () => [],
  close: async () => {},
}
