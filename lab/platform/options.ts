import type { PlatformClock } from './clock.ts'
import type { PlatformWorld } from './world.ts'

/**
 * How the stand-in behaves where the platform's documents say nothing. Every default is a choice, not a fact: a test
 * that relies on one names it.
 */
export interface PlatformBehaviour {
  /** How long a VM is at least busy (5) with an operation, milliseconds. Default 50. */
  busyMs: number
  /** `instant`: batch verbs answer when the work is over, so nobody ever sees a VM busy. Default `asynchronous`. */
  transitions: 'asynchronous' | 'instant'
  /** What a batch verb answers about a VM in a state that forbids it. Default `error-list`. */
  wrongState: 'error-list' | 'envelope'
  /** `at-once`: an event's row is there, without `isSuccess`, while the work goes on. Default `at-once`. */
  eventLife: 'at-once' | 'when-finished'
  /** What `isSuccess` of an event says after success. The filter of the list always takes 1 for success. Default 0. */
  eventSuccess: 0 | 1
  /**
   * Wire form of a VM's times: `2026-01-31 12:00:00`, the same with `T`, milliseconds, or an object with `time`. Other
   * times are text in every form, with `T` for `iso`. Default `text`.
   */
  timestamps: 'text' | 'iso' | 'number' | 'object'
  /** UTC offset of the platform's clock, in which it writes and reads times without one: `-03:30`. Default `+08:00`. */
  timeZone: string
  /** Fields without a value are left out or null. Default `omit`. */
  emptyFields: 'omit' | 'null'
  /** Names of a pool's VMs: `p-1`, `p-001` or `p1`. Default `dash`. */
  vmNames: 'dash' | 'padded' | 'plain'
  /** Whether libvirt knows a VM by the platform's name or by one of its own. Default `same`. */
  libvirtNames: 'same' | 'own'
  /** `enabled` of a new desk pool. VMs of a disabled pool do not start. Default 1. */
  poolsEnabled: 0 | 1
  /** HTTP status of the answer to a bad token. Its body is the same. Default 200. */
  tokenErrorStatus: 200 | 401
  /** HTTP status of every other business error. Default 200. */
  errorStatus: 200 | 400 | 500
  /** What an unknown path or method gets: HTTP 404 or 405 in the form of Spring, or an envelope. Default `http`. */
  unknownPath: 'http' | 'envelope'
  /** Life of a token. Default 30 minutes. */
  tokenLifeMs: number
  /** Whether each use of a token makes it live on. Default `sliding`. */
  tokenExpiry: 'sliding' | 'absolute'
  /** Whether a login ends the user's other sessions. Default `several`. */
  sessions: 'several' | 'single'
  /** Success of end users' calls: `status` 0 with `returnCode` 200, or `returnCode` 200 alone. Default `both`. */
  userEnvelope: 'both' | 'return-code'
  /** `key` of `spice-key`: the ticket itself or Base64 of it. Default `clear`. */
  spiceKey: 'clear' | 'base64'
  /** VMs a host may run until told otherwise. Default 60. */
  domainLimit: number
  /** Longest page. Default: none. */
  maxPageSize: number
}

export const DEFAULT_BEHAVIOUR: PlatformBehaviour = {
  busyMs: 50,
  transitions: 'asynchronous',
  wrongState: 'error-list',
  eventLife: 'at-once',
  eventSuccess: 0,
  timestamps: 'text',
  timeZone: '+08:00',
  emptyFields: 'omit',
  vmNames: 'dash',
  libvirtNames: 'same',
  poolsEnabled: 1,
  tokenErrorStatus: 200,
  errorStatus: 200,
  unknownPath: 'http',
  tokenLifeMs: 30 * 60_000,
  tokenExpiry: 'sliding',
  sessions: 'several',
  userEnvelope: 'both',
  spiceKey: 'clear',
  domainLimit: 60,
  maxPageSize: Number.POSITIVE_INFINITY,
}

export interface PlatformOptions {
  /** VMs and hosts behind the platform. Default: in memory, without real VMs. */
  world?: PlatformWorld
  behaviour?: Partial<PlatformBehaviour>
  /** SQLite file. Default: in memory, gone with the platform. */
  database?: string
  /** TCP port on 127.0.0.1. Default: a free one. */
  port?: number
  /** Name of the administrator, whose password is made at the first start unless given. Default `admin`. */
  adminUser?: string
  adminPassword?: string
  /** Password of users who are made without one. Default `ocloud`. */
  userPassword?: string
  /** Default: the machine's clock. */
  clock?: PlatformClock
}
