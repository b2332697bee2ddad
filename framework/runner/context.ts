import type { ResolvedConfig, ResolvedHost } from '../config/index.ts'
import type { RelayAddress } from '../metrics/relay-client.ts'
import type { PlatformDoor } from './lab-platform.ts'
import type { VerificationDoor } from './verification-door.ts'

/** What the main process hands to every worker, JSON only. */
export interface AtpContext {
  run: string
  /** Directory of the broker's socket and journal. */
  stateDir: string
  /** Root of the project; event paths are relative to it. */
  root: string
  /** The configuration file, if there is one. */
  configFile: string | undefined
  /** Where evidence files of this run go. */
  evidenceDir: string
  evidence: ResolvedConfig['evidence']
  video: ResolvedConfig['video']
  timeouts: ResolvedConfig['timeouts']
  tags: ResolvedConfig['tags']
  secrets: ResolvedConfig['secrets']
  plugins: string[]
  /** Expected pictures of screens are written from what is seen, not compared. */
  updateScreens: boolean
  /** Allure results are written. */
  allure: boolean
  /** Configured hosts: their VMs are attached by name. Passwords are still to be read where they are used. */
  hosts: ResolvedHost[]
  /** VMs can be made to order (a lab is configured). */
  lab: boolean
  /** The platform that makes desktops. Its password is still to be read where it is used. */
  vdi: ResolvedConfig['vdi']
  /** Where workers ask for the lab's stand-in, if that is the platform. */
  platformDoor: PlatformDoor | undefined
  /** Verifier agents that connect to the run. */
  verification:
    | {
        /** Where workers ask for them; undefined: the run listens for none. */
        door: VerificationDoor | undefined
        /** VM id that an agent gives → the VM's name or UUID. */
        vms: Record<string, string>
        connectionTimeoutMs: number
      }
    | undefined
  /** Where workers send the figures of their connections; undefined where nobody wants them. */
  metrics: RelayAddress | undefined
}

declare module 'vitest' {
  /** What authors may say about a test: `{ meta: { id: 'TC-1042', knownIssue: 'BUG-7' } }`. */
  interface TaskMeta {
    /** Stable across renames; travels to all reports. */
    id?: string
    /** URL or number of the issue that explains a red test; it stays red and breaks no gate. */
    knownIssue?: string
  }
  interface ProvidedContext {
    atp: AtpContext
  }
}

/** Type of the artifacts that carry run events from workers to the main process. */
export const EVENT_ARTIFACT = 'atp:event'

/** In a test's meta: its author marked it, or a suite around it, as skip. */
export const SKIP_MARK = 'atp:skip'
