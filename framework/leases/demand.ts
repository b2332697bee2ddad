import { configError } from '../core/index.ts'
import type { HostDescription, LeaseRequest, Ownership, VmRequest } from './api.ts'
import { assign } from './assignment.ts'

/** A VM to be made or taken from the standbys. */
export interface WantedVm {
  /** Position in the request. */
  index: number
  name?: string
  profile: string | undefined
  ownership: Ownership
  /** Hosts it may be on; never empty. */
  hosts: readonly string[]
  /** Stored checkpoint it is made of. */
  checkpoint?: string
}

/** A checked request in the scheduler's terms. */
export interface Demand {
  vms: WantedVm[]
  attached: { index: number; name: string; host: string }[]
  /** `lock "x"` for a named lock, `host/name` for an attached VM. */
  locks: string[]
}

export interface Stock {
  hosts: readonly HostDescription[]
  /** Undefined: any profile name is accepted. */
  profiles?: readonly string[]
}

const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/
const OWNERSHIPS: readonly unknown[] = ['pristine', 'shared', 'attached', undefined]
const MAX_VMS = 1000

/**
 * Checks a request against what exists.
 *
 * @throws `ATP_LEASE_REQUEST` when the request is not well formed, `ATP_LEASE_IMPOSSIBLE` when it could not be
 * granted even if nobody else held anything: unknown host, profile or label, or more VMs than there is room for.
 */
export function toDemand(request: LeaseRequest, stock: Stock): Demand {
  checkShape(request)
  const demand: Demand = { vms: [], attached: [], locks: (request.locks ?? []).map((name) => `lock "${name}"`) }
  for (const [index, vm] of request.vms.entries()) {
    if (vm.ownership === 'attached') {
      const { name, host } = vm as { name: string; host: string }
      demand.attached.push({ index, name, host })
      demand.locks.push(`${host}/${name}`)
    } else {
      const profile = profileOf(vm, stock, request.holder)
      demand.vms.push({
        index,
        ...(vm.name === undefined ? {} : { name: vm.name }),
        profile,
        ownership: vm.ownership ?? 'pristine',
        hosts: hostsOf(vm, stock, request.holder),
        ...(vm.checkpoint === undefined ? {} : { checkpoint: vm.checkpoint }),
      })
    }
  }
  const twice =
    firstTwice(demand.vms.flatMap((vm) => vm.name ?? [])) ??
    firstTwice(demand.attached.map(({ host, name }) => `${host}/${name}`))
  if (twice !== undefined) throw malformed(request.holder, `asks for ${twice} twice`)
  demand.locks = [...new Set(demand.locks)]

  const capacity = new Map(stock.hosts.map((host) => [host.id, host.capacity]))
  const seats = assign(
    demand.vms.map((vm) => vm.hosts),
    capacity,
  )
  if (seats.includes(undefined)) {
    throw impossible(
      request.holder,
      `asks for ${demand.vms.length} VMs at once; the hosts it allows have room for ${seats.filter(Boolean).length}`,
      stock,
    )
  }
  return demand
}

/** `undefined` when the provider names no profiles and the request none either. */
function profileOf(vm: VmRequest, stock: Stock, holder: string): string | undefined {
  if (!stock.profiles) return vm.profile
  const profile = vm.profile ?? stock.profiles[0]
  if (profile === undefined || !stock.profiles.includes(profile)) {
    throw impossible(holder, `asks for the machine profile "${profile}", which does not exist`, stock)
  }
  return profile
}

function hostsOf(vm: VmRequest, stock: Stock, holder: string): string[] {
  if (vm.host !== undefined && !stock.hosts.some((host) => host.id === vm.host)) {
    throw impossible(holder, `asks for the host "${vm.host}", which does not exist`, stock)
  }
  const labels = vm.labels ?? []
  const hosts = stock.hosts
    .filter(
      (host) => (vm.host === undefined || host.id === vm.host) && labels.every((label) => host.labels.includes(label)),
    )
    .map((host) => host.id)
  if (hosts.length === 0) {
    const where = vm.host === undefined ? 'no host has' : `host "${vm.host}" does not have`
    throw impossible(holder, `asks for the labels ${labels.join(', ')}, which ${where}`, stock)
  }
  return hosts
}

function checkShape(request: LeaseRequest): void {
  const raw = request as unknown as Record<string, unknown>
  const holder = typeof raw['holder'] === 'string' ? raw['holder'] : ''
  const check = (good: boolean, what: string) => {
    if (!good) throw malformed(holder || 'a lease request', what)
  }
  check(holder !== '', 'does not say who asks (`holder`)')
  check(Array.isArray(raw['vms']), 'has no list of VMs (`vms`)')
  check(raw['locks'] === undefined || isTexts(raw['locks']), 'has `locks` that are not a list of names')
  check(request.vms.length > 0 || (request.locks ?? []).length > 0, 'asks for nothing')
  check(request.vms.length <= MAX_VMS, `asks for more than ${MAX_VMS} VMs`)
  for (const value of request.vms) {
    check(typeof value === 'object' && value !== null, 'lists a VM that is not an object')
    const vm = value as Record<keyof VmRequest, unknown>
    check(OWNERSHIPS.includes(vm.ownership), `has an unknown ownership ${JSON.stringify(vm.ownership)}`)
    for (const key of ['name', 'profile', 'host', 'checkpoint'] as const) {
      check(vm[key] === undefined || (typeof vm[key] === 'string' && vm[key] !== ''), `has a ${key} that is not a text`)
    }
    check(vm.labels === undefined || isTexts(vm.labels), 'has `labels` that are not a list of texts')
    if (vm.ownership === 'attached') {
      check(vm.name !== undefined && vm.host !== undefined, 'asks for an attached VM without its name and host')
      check(vm.checkpoint === undefined, 'asks for an attached VM from a checkpoint')
    } else {
      check(
        vm.name === undefined || NAME.test(vm.name as string),
        `asks for a VM called "${String(vm.name)}"; names are letters, digits, ".", "_" and "-"`,
      )
    }
  }
}

function isTexts(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string' && item !== '')
}

function firstTwice(texts: readonly string[]): string | undefined {
  return texts.find((text, index) => texts.indexOf(text) !== index)
}

function malformed(holder: string, what: string) {
  return configError('ATP_LEASE_REQUEST', `${holder} ${what}`, { context: { holder } })
}

function impossible(holder: string, what: string, stock: Stock) {
  const hosts = stock.hosts.map(
    ({ id, capacity, labels }) => `${id} (${capacity} VMs${labels.length ? `, ${labels.join(', ')}` : ''})`,
  )
  return configError('ATP_LEASE_IMPOSSIBLE', `${holder} ${what}`, {
    context: { holder, hosts: stock.hosts, profiles: stock.profiles },
    remedy: `hosts: ${hosts.join('; ') || 'none'}${stock.profiles ? `; profiles: ${stock.profiles.join(', ')}` : ''}`,
  })
}
