import { randomBytes } from 'node:crypto'
import type { ResolvedConfig } from '../config/index.ts'
import type { AgentAddress } from '../verify/index.ts'

/** Where workers ask the run's main process for verifier agents. */
export interface VerificationDoor {
  /** A name in Linux' abstract socket namespace, which leaves nothing behind. */
  path: string
  /** Said first: other users of the machine can connect to the name as well. */
  key: string
}

/** What a worker says first. */
export type DoorQuestion = { key: string } & ({ ask: 'claim'; address: AgentAddress } | { ask: 'access'; vmId: string })

/** What an agent in a VM is started with. */
export interface AgentAccess {
  /** Where it may connect: `ws://127.0.0.1:8765`. */
  urls: string[]
  token: string
}

/** The door of a run whose configuration has agents connect to it. */
export function verificationDoorFor({ verification }: ResolvedConfig): VerificationDoor | undefined {
  if (!verification || verification.listeners.length === 0) return undefined
  return {
    path: `\0atp-verification-door-${randomBytes(12).toString('hex')}`,
    key: randomBytes(32).toString('base64url'),
  }
}
