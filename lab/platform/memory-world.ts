import { createHash } from 'node:crypto'
import { remoteError, stateError, type CallOptions } from '../../framework/core/index.ts'
import type { Console, PlatformWorld, WorldHost, WorldProfile, WorldState, WorldVm } from './world.ts'

interface Machine {
  vm: WorldVm
  state: WorldState
  snapshots: Map<string, WorldState>
  port: number
}

const PROFILES: readonly WorldProfile[] = ['ps2', 'virtio', 'usb'].map((name) => ({ name, memoryMiB: 128, cpus: 1 }))
const FIRST_PORT = 5900

/** Hypervisors that are only remembered: every operation works at once, and nothing runs. */
export class MemoryWorld implements PlatformWorld {
  readonly usbPassThrough = true
  readonly serialLinks = true
  readonly #hosts: WorldHost[]
  readonly #machines = new Map<string, Machine>()

  constructor(hosts = 2) {
    this.#hosts = Array.from({ length: hosts }, (_, index) => {
      const name = `memory-${index + 1}`
      return { id: stableUuid(name), name, ip: `127.0.0.${index + 1}`, uri: '' }
    })
  }

  async open(): Promise<WorldHost[]> {
    return this.#hosts
  }

  profiles(): readonly WorldProfile[] {
    return PROFILES
  }

  /** Names of the VMs there are, sorted, with their states. */
  list(): { id: string; name: string; state: WorldState }[] {
    return [...this.#machines.values()]
      .map(({ vm, state }) => ({ id: vm.id, name: vm.name, state }))
      .toSorted((a, b) => a.name.localeCompare(b.name))
  }

  async create(vm: WorldVm): Promise<void> {
    if (this.#machines.has(vm.id)) return
    for (const { vm: other } of this.#machines.values()) {
      if (other.hostId === vm.hostId && other.name === vm.name) {
        throw remoteError('ATP_LAB_PLATFORM_NAME', `the host has another VM "${vm.name}"`)
      }
    }
    const used = new Set([...this.#machines.values()].map(({ port }) => port))
    let port = FIRST_PORT
    while (used.has(port)) port += 2
    this.#machines.set(vm.id, { vm, state: 'off', snapshots: new Map(), port })
  }

  async remove(vm: WorldVm): Promise<void> {
    this.#machines.delete(vm.id)
  }

  async removeOthers(known: readonly WorldVm[]): Promise<void> {
    const ids = new Set(known.map(({ id }) => id))
    for (const id of this.#machines.keys()) if (!ids.has(id)) this.#machines.delete(id)
  }

  async change(vm: WorldVm): Promise<void> {
    this.#in(vm, 'off').vm = vm
  }

  async start(vm: WorldVm, _password: string, options?: CallOptions): Promise<void> {
    options?.signal?.throwIfAborted()
    this.#in(vm, 'off').state = 'running'
  }

  async shutDown(vm: WorldVm): Promise<void> {
    this.#in(vm, 'running').state = 'off'
  }

  async powerOff(vm: WorldVm): Promise<void> {
    this.#machine(vm).state = 'off'
  }

  async reboot(vm: WorldVm): Promise<void> {
    this.#in(vm, 'running')
  }

  async suspend(vm: WorldVm): Promise<void> {
    this.#in(vm, 'running').state = 'suspended'
  }

  async resume(vm: WorldVm): Promise<void> {
    this.#in(vm, 'suspended').state = 'running'
  }

  async sleep(vm: WorldVm): Promise<void> {
    this.#in(vm, 'running').state = 'asleep'
  }

  async wake(vm: WorldVm): Promise<void> {
    this.#in(vm, 'asleep').state = 'running'
  }

  async saveSnapshot(vm: WorldVm, snapshot: string): Promise<void> {
    const machine = this.#in(vm, 'off', 'running', 'suspended')
    machine.snapshots.set(snapshot, machine.state)
  }

  async restoreSnapshot(vm: WorldVm, snapshot: string): Promise<void> {
    const machine = this.#in(vm, 'off', 'running', 'suspended')
    const state = machine.snapshots.get(snapshot)
    if (state === undefined) throw stateError('ATP_LAB_PLATFORM_SNAPSHOT', `"${vm.name}" has no snapshot ${snapshot}`)
    machine.state = state
  }

  async deleteSnapshot(vm: WorldVm, snapshot: string): Promise<void> {
    this.#machine(vm).snapshots.delete(snapshot)
  }

  async state(vm: WorldVm): Promise<WorldState> {
    return this.#machine(vm).state
  }

  async xml(vm: WorldVm): Promise<string> {
    const { port, state } = this.#machine(vm)
    const on = state === 'running' || state === 'suspended'
    const ip = this.#hosts.find((host) => host.id === vm.hostId)?.ip ?? ''
    const graphics = (type: string, port: number) =>
      `<graphics type='${type}' port='${on ? port : -1}'><listen type='address' address='${ip}'/></graphics>`
    const channel = (name: string) => `<channel type='unix'><target type='virtio' name='${name}'/></channel>`
    return [
      "<domain type='qemu'>",
      `<name>${vm.name.replace(/[&<>]/g, (character) => `&#${character.codePointAt(0)};`)}</name>`,
      `<uuid>${vm.id}</uuid>`,
      `<memory unit='MiB'>${vm.memoryMiB}</memory><vcpu>${vm.cpus}</vcpu>`,
      "<os><type arch='x86_64' machine='pc'>hvm</type></os>",
      `<devices>${channel('org.qemu.guest_agent.0')}${channel('atp.channel.0')}`,
      `${graphics('spice', port)}${graphics('vnc', port + 1)}</devices></domain>`,
    ].join('')
  }

  async consoles(vm: WorldVm): Promise<Console[]> {
    const { port } = this.#in(vm, 'running', 'suspended')
    return [
      { type: 'spice', port },
      { type: 'vnc', port: port + 1 },
    ]
  }

  async close(): Promise<void> {
    // Nothing is open.
  }

  #machine(vm: WorldVm): Machine {
    const machine = this.#machines.get(vm.id)
    if (machine) return machine
    throw remoteError('ATP_LAB_PLATFORM_GONE', `the hosts have no VM "${vm.name}" (${vm.id})`)
  }

  #in(vm: WorldVm, ...states: WorldState[]): Machine {
    const machine = this.#machine(vm)
    if (states.includes(machine.state)) return machine
    throw stateError('ATP_LAB_PLATFORM_STATE', `"${vm.name}" is ${machine.state}; it must be ${states.join(' or ')}`)
  }
}

/** The same UUID for the same text, at every start. */
export function stableUuid(text: string): string {
  const hex = createHash('sha256').update(text, 'utf8').digest('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), `4${hex.slice(13, 16)}`, `8${hex.slice(17, 20)}`, hex.slice(20, 32)].join(
    '-',
  )
}
