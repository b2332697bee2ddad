/** A duration: milliseconds as a number, or text with a unit such as `30s`. */
export type DurationSetting = number | string

/** Where a secret's value comes from. */
export type SecretSource = { env: string } | { file: string }

/** Parameters of a libvirt URI that weaken security or run a program of the user's choice. */
export type HostRisk = 'no_verify' | 'netcat' | 'command'

/** How the connections to a host are kept. */
export interface HostConnectionSettings {
  /** `separate`: one connection for control, calls and channels each. `shared`: one for all. Default `separate`. */
  connections?: 'separate' | 'shared'
  /** Making a connection, authentication included. Default 30s. */
  connectTimeout?: DurationSetting
  /** Pause between two checks that the host still answers; 0 turns them off. Default 30s. */
  heartbeat?: DurationSetting
  /**
   * Pause between two of libvirt's own keepalive questions; a host that leaves three unanswered is lost. 0 turns them
   * off. Default 5s.
   */
  keepalive?: DurationSetting
  /** Connect again when a connection is lost. Default true. */
  autoReconnect?: boolean
  /** Attempts before a lost connection is given up. Default: no limit. */
  maxAttempts?: number
  /** Several sets of connections to one host, for heavy load. */
  pool?: {
    /** Kept ready. Default 1. */
    min?: number
    /** Default 10. */
    max?: number
    /** Who gets the next task. Default `least-connections`. */
    strategy?: 'round-robin' | 'least-connections' | 'random'
    /** After this time without a task those beyond `min` are closed. Default 300s. */
    idleTimeout?: DurationSetting
  }
}

/** A hypervisor host. It needs `host` or `uri`. */
export interface HostConfig {
  /** Short name used in filters, locks and reports. */
  id: string
  /** Name or address of the host. Without `uri` it is reached by ssh: `qemu+ssh://<host>/system`. */
  host?: string
  /** libvirt URI, e.g. `qemu:///system`, `qemu+tls://kvm-1.example/system`. */
  uri?: string
  /** How many leased VMs it carries at once. Default 4. */
  capacity?: number
  labels?: string[]
  /** PEM files for `qemu+tls`; relative paths start at the file that names them. Default: libvirt's own places. */
  tls?: { ca?: string; cert?: string; key?: string }
  /** For daemons that ask for SASL. The password is one of `secrets`, an environment variable or a file. */
  sasl?: { user: string; password: { secret: string } | SecretSource }
  /** Dangerous parameters its URI may use all the same. */
  allow?: HostRisk[]
  connection?: HostConnectionSettings
}

export interface LabSettings {
  /** Private hypervisor hosts on this machine. Default 2. */
  hosts?: number
  /** Leased VMs a host carries at once. Default: what its share of the machine's memory and cores allows, at most 8. */
  capacity?: number
  /** Machine profile a test gets unless it asks for another. Default `ps2`. */
  profile?: string
}

export interface TimeoutSettings {
  /** Waiting for a free VM, its creation included. Default 120s. */
  lease?: DurationSetting
  /** Fixture set-up apart from the lease. Default 60s. */
  setup?: DurationSetting
  /** The test body. Default 60s. */
  test?: DurationSetting
  /** One step of a scenario or `step()`. Default 30s. */
  step?: DurationSetting
  /** One `await expect(live object)`. Default 5s. */
  expect?: DurationSetting
  /** Teardown of one resource. Default 30s. */
  teardown?: DurationSetting
}

export type EvidenceMode = 'off' | 'on' | 'on-failure'
export type VideoMode = 'off' | 'on-failure'

export interface TagSetting {
  name: string
  description?: string
  timeout?: DurationSetting
  retry?: number
}

export interface QualityGateRule {
  /** Metric key, e.g. `key-to-guest.kernel.qmp-ps2.p95`. */
  metric: string
  max?: number
  min?: number
}

export interface MetricsSettings {
  /** Where `/metrics` is served. Default 9464; 0 takes any free port. */
  port?: number
  /** Address it listens on. Default `127.0.0.1`: this machine only. */
  host?: string
  /** What requests must bear. Default: made for each run, in a file that is printed. */
  token?: SecretSource
}

/** Where a platform behaves differently from what is assumed; docs/vdi.md explains each. */
export interface VdiAssumptionSettings {
  expiredTokenCodes?: number[]
  expiredTokenHttpStatuses?: number[]
  /** null leaves the field out. */
  loginClient?: string | null
  endUserSuccessStatuses?: number[]
  endUserLogin?: 'login' | 'userlogin2'
  endUserField?: 'both' | 'username' | 'sAMAccountName'
  endUserLogout?: 'logout' | 'expiry'
  userPasswordForm?: 'md5' | 'clear'
  arrayQuery?: 'repeat' | 'comma' | 'pipe'
  pageRows?: number
  absentListIsEmpty?: boolean
  timestampZone?: string
  rangeTimeForm?: 'blank' | 'iso'
  hibernatedStatus?: number
  busyStatuses?: number[]
  eventSuccessValue?: 0 | 1
  missingEventIsUnfinished?: boolean
  oneEventPerVm?: boolean
  recycleValue?: 0 | 1
  spiceKeyForm?: 'plain' | 'base64'
}

/** The OCloudView platform that makes the desktops. */
export interface VdiSettings {
  /** Scheme, host and port: `https://vdi.example:8088`. */
  url: string
  /** An administrator of the platform. */
  username: string
  /** One of `secrets`, an environment variable or a file. */
  password: { secret: string } | SecretSource
  tls?: {
    /** PEM file of the authorities to trust; a relative path starts at the file that names it. Default: Node's. */
    ca?: string
    /** `false` trusts any certificate. Default true. */
    verify?: boolean
  }
  /** One call, logins and repetitions included. Default 30s. */
  timeout?: DurationSetting
  /** Repetitions after a lost connection or HTTP 5xx, of calls that may be repeated. Default 3. */
  retries?: number
  /** How exactly answers must fit. Default `tolerant`. */
  validation?: 'strict' | 'tolerant'
  assumptions?: VdiAssumptionSettings
  /** Template of pools that name none: id or name. Default: the platform's only one. */
  template?: string
  /** libvirt URI of the platform's hosts, with `{ip}`, `{name}`, `{id}`. Default `qemu+ssh://{ip}/system`. */
  hostUri?: string
  /** Id, name or address of a platform's host → id of a configured host. Goes before `hostUri`. */
  hosts?: Record<string, string>
}

/** Where verifier agents may connect. */
export interface ListenerSettings {
  /** Address of this machine. Default `127.0.0.1`: this machine only. */
  host?: string
  /** Default 8765 for WebSockets, 8766 for TCP; 0 takes any free port. */
  port?: number
  /** PEM files; relative paths start at the file that names them. */
  tls?: { cert: string; key: string }
  /** `plain`: an address that others reach, without TLS. */
  allow?: 'plain'[]
}

/** Verifier agents that connect to the run. Those on a VM's virtio-serial port need none of it. */
export interface VerificationSettings {
  /** `true` for the defaults. Default: off. */
  websocket?: boolean | ListenerSettings
  /** `true` for the defaults. Default: off. */
  tcp?: boolean | ListenerSettings
  /** Path of a Unix socket. Default: none. */
  unix?: string
  /** What agents show. Default: each VM has a token of its own, made for each run. */
  token?: { secret: string } | SecretSource
  /** By the VM id that an agent gives: which VM that is, and a token that only it has. */
  agents?: Record<string, { vm?: string; token?: { secret: string } | SecretSource }>
  /** How long a test waits for an agent. Default 10s. */
  connectionTimeout?: DurationSetting
}

/** `atp.config.ts` at the root of a project. Every setting has a default; unknown settings are errors. */
export interface AtpConfig {
  /** Globs of spec files. Default `specs/**\/*.spec.{ts,yaml,yml,json}`. */
  specs?: string[]
  /** Existing hypervisor hosts. VMs on them are attached by name, never created or destroyed. */
  hosts?: HostConfig[]
  /** YAML file with further hosts. Default `hosts.yaml` beside the configuration, when there is one. */
  hostsFile?: string
  /** The embedded lab: real VMs on this machine. `true` for its defaults. */
  lab?: boolean | LabSettings
  /** Tags specs may use. A tag that is not listed is a usage error. */
  tags?: (string | TagSetting)[]
  timeouts?: TimeoutSettings
  /** Further attempts of a failed test. Default 0. */
  retry?: number
  /** Stop after this many failed tests. Default 0: never. */
  bail?: number
  /** Worker processes. Default: as many as the hosts carry VMs, bounded by memory and 16. */
  workers?: number
  /** When screenshots, serial logs and transcripts are kept. Default `on-failure`. */
  evidence?: EvidenceMode
  /** Whether a failed test keeps a film of each SPICE screen that it looked at. Default `on-failure`; `off` with `evidence: 'off'`. */
  video?: VideoMode
  /** Values of `secret('name')` and `${secret.name}`: `{ env: 'VARIABLE' }` or `{ file: 'path' }`. */
  secrets?: Record<string, SecretSource>
  report?: {
    /** Allure results and report. Default `{ results: 'allure-results', report: 'allure-report' }`; false turns it off. */
    allure?: false | { results?: string; report?: string; history?: string; qualityGate?: QualityGateRule[] }
    /** File of the JUnit XML. Default none. */
    junit?: string
    /** File of the JSON report. Default none. */
    json?: string
  }
  /** Metrics of hosts for Prometheus, while a run lasts. Default false. */
  metrics?: boolean | MetricsSettings
  /** The platform that makes desktops; `'lab'` is a stand-in on this machine, with real VMs. Default: none. */
  vdi?: 'lab' | VdiSettings
  /** Where verifier agents in guests connect to. Default: nowhere. */
  verification?: VerificationSettings
  /** Plug-ins, as files (`./plugins/mine.ts`) or packages: they add step kinds, protocols and matchers. */
  plugins?: string[]
}

/** Gives `atp.config.ts` completion and type checks. */
export function defineConfig(config: AtpConfig): AtpConfig {
  return config
}
