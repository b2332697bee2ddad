import { connectError } from '../../../framework/core/index.ts'
import type { HostConnectionOptions } from '../../../framework/hosts/index.ts'
import type { Domain } from '../../../framework/protocols/libvirt/index.ts'
import { PROGRAM, QEMU, REMOTE } from '../../../framework/protocols/libvirt/protocol-numbers.ts'
import { memoryPair } from '../../../framework/transport/index.ts'
import { message, ScriptedDaemon, writeVm, type Call } from '../libvirt/scripted-daemon.ts'

export const URI = 'qemu+unix:///session?socket=/nonexistent/libvirt-sock'

/** `virDomainState` */
export const STATE = { running: 1, paused: 3, shutoff: 5 } as const
/** `virDomainEventType` */
export const EVENT = { started: 2, suspended: 3, resumed: 4, stopped: 5 } as const

interface Vm {
  domain: Domain
  state: number
}

interface Registration {
  daemon: ScriptedDaemon
  program: number
  /** Id of the event, or the name of the QMP event. */
  event: number | string | undefined
  uuid: string | undefined
  id: number
}

/** A host in memory: VMs that outlive its daemon, a daemon that can die, hang and refuse. */
export class ScriptedHypervisor {
  readonly vms: Vm[] = []
  /** Connections of the daemon that lives now, in the order they were made. */
  daemons: ScriptedDaemon[] = []
  registrations: Registration[] = []
  /** Connections made since the beginning. */
  dials = 0
  /** What dialling rejects with; undefined while the daemon is up. */
  down: Error | undefined
  /** Answers a call instead of the daemon; true if it did. */
  answer: ((call: Call, daemon: ScriptedDaemon) => boolean) | undefined
  /** Runs for each new connection before it is used. */
  onDial: ((daemon: ScriptedDaemon) => void) | undefined
  /** Names of what was asked, in order: `list`, `state`, `register`, `deregister`, `version`, `monitor`. */
  readonly asked: string[] = []
  #nextId = 0
  #made = 0

  readonly openTransport: HostConnectionOptions['openTransport'] = async (_, { signal }) => {
    this.dials++
    signal?.throwIfAborted()
    if (this.down) throw this.down
    const [near, far] = memoryPair()
    const daemon = new ScriptedDaemon(far)
    daemon.onCall = (call) => this.#onCall(call, daemon)
    this.onDial?.(daemon)
    this.daemons.push(daemon)
    return near
  }

  addVm(name: string, state: number = STATE.running): Domain {
    const number = ++this.#made
    const uuid = `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`
    const domain = { name, uuid, id: state === STATE.shutoff ? -1 : number }
    this.vms.push({ domain, state })
    return domain
  }

  /** As the host changes a VM while its daemon does not run. */
  change(domain: Domain, state: number, id = domain.id): void {
    const vm = this.vms.find((one) => one.domain.uuid === domain.uuid) as Vm
    vm.state = state
    vm.domain = { ...vm.domain, id: state === STATE.shutoff ? -1 : id }
  }

  remove(domain: Domain): void {
    this.vms.splice(
      this.vms.findIndex((one) => one.domain.uuid === domain.uuid),
      1,
    )
  }

  /** The daemon dies: its connections end, nobody can connect. */
  kill(error: Error = refused()): void {
    this.down = error
    this.registrations = []
    for (const daemon of this.daemons.splice(0)) daemon.stream.destroy()
  }

  start(): void {
    this.down = undefined
  }

  lifecycle(domain: Domain, event: number): void {
    this.#tell(PROGRAM.REMOTE, 0, domain, (id) =>
      message(PROGRAM.REMOTE, REMOTE.DOMAIN_EVENT_CALLBACK_LIFECYCLE, (writer) =>
        writeVm(writer.i32(id), domain).i32(event).i32(0),
      ),
    )
  }

  reboot(domain: Domain): void {
    this.#tell(PROGRAM.REMOTE, 1, domain, (id) =>
      message(PROGRAM.REMOTE, REMOTE.DOMAIN_EVENT_CALLBACK_REBOOT, (writer) => writeVm(writer.i32(id), domain)),
    )
  }

  agent(domain: Domain, state: number): void {
    this.#tell(PROGRAM.REMOTE, 18, domain, (id) =>
      message(PROGRAM.REMOTE, REMOTE.DOMAIN_EVENT_CALLBACK_AGENT_LIFECYCLE, (writer) =>
        writeVm(writer.i32(id), domain).i32(state).i32(0),
      ),
    )
  }

  monitor(domain: Domain, event: string): void {
    const write = (id: number) =>
      message(PROGRAM.QEMU, QEMU.DOMAIN_MONITOR_EVENT, (writer) =>
        writeVm(writer.i32(id), domain).string(event).i64(1n).u32(0).optionalString(undefined),
      )
    this.#tell(PROGRAM.QEMU, undefined, domain, write)
    this.#tell(PROGRAM.QEMU, event, domain, write)
  }

  #tell(program: number, event: number | string | undefined, domain: Domain, frame: (id: number) => Buffer): void {
    for (const one of this.registrations) {
      const same = one.program === program && one.event === event
      if (same && (one.uuid === undefined || one.uuid === domain.uuid)) one.daemon.send(frame(one.id))
    }
  }

  #onCall(call: Call, daemon: ScriptedDaemon): void {
    if (this.answer?.(call, daemon)) return
    const { body } = call
    if (call.program === PROGRAM.QEMU) return this.#onQemuCall(call, daemon)
    switch (call.procedure) {
      case REMOTE.CONNECT_GET_LIB_VERSION:
        this.asked.push('version')
        return daemon.send(call.reply((writer) => writer.u64(9_000_000n)))
      case REMOTE.CONNECT_LIST_ALL_DOMAINS:
        this.asked.push('list')
        return daemon.send(
          call.reply((writer) => {
            writer.u32(this.vms.length)
            for (const { domain } of this.vms) writeVm(writer, domain)
            writer.u32(this.vms.length)
          }),
        )
      case REMOTE.DOMAIN_LOOKUP_BY_NAME: {
        const name = body.string()
        const vm = this.vms.find((one) => one.domain.name === name)
        return daemon.send(vm ? call.reply((writer) => writeVm(writer, vm.domain)) : call.refuse(42))
      }
      case REMOTE.DOMAIN_GET_STATE: {
        this.asked.push('state')
        body.string()
        const uuid = Buffer.from(body.opaque(16)).toString('hex')
        const vm = this.vms.find((one) => one.domain.uuid.replaceAll('-', '') === uuid)
        return daemon.send(vm ? call.reply((writer) => writer.i32(vm.state).i32(0)) : call.refuse(42))
      }
      case REMOTE.CONNECT_DOMAIN_EVENT_CALLBACK_REGISTER_ANY:
        return this.#register(call, daemon, body.i32())
      case REMOTE.CONNECT_DOMAIN_EVENT_CALLBACK_DEREGISTER_ANY:
        return this.#deregister(call, daemon)
      default:
        return daemon.send(call.refuse(1, `procedure ${call.procedure} is not scripted`))
    }
  }

  #onQemuCall(call: Call, daemon: ScriptedDaemon): void {
    if (call.procedure === QEMU.CONNECT_DOMAIN_MONITOR_EVENT_REGISTER) return this.#register(call, daemon, undefined)
    if (call.procedure === QEMU.CONNECT_DOMAIN_MONITOR_EVENT_DEREGISTER) return this.#deregister(call, daemon)
    if (call.procedure === QEMU.DOMAIN_AGENT_COMMAND)
      return daemon.send(call.reply((writer) => writer.optionalString('{"return":{}}')))
    this.asked.push('monitor')
    daemon.send(call.reply((writer) => writer.string('{"return":{}}')))
  }

  #register(call: Call, daemon: ScriptedDaemon, eventId: number | undefined): void {
    this.asked.push('register')
    const { body, program } = call
    let uuid: string | undefined
    if (body.u32() === 1) {
      body.string()
      const hex = Buffer.from(body.opaque(16)).toString('hex')
      uuid = this.vms.find((one) => one.domain.uuid.replaceAll('-', '') === hex)?.domain.uuid ?? hex
      body.i32()
    }
    const event = program === PROGRAM.QEMU ? body.optionalString() : eventId
    const same = (one: Registration) =>
      one.daemon === daemon && one.program === program && one.event === event && one.uuid === uuid
    // As libvirt's daemon does.
    if (this.registrations.some(same)) return daemon.send(call.refuse(1, 'event callback already tracked'))
    const id = ++this.#nextId
    this.registrations.push({ daemon, program, event, uuid, id })
    daemon.send(call.reply((writer) => writer.i32(id)))
  }

  #deregister(call: Call, daemon: ScriptedDaemon): void {
    this.asked.push('deregister')
    const id = call.body.i32()
    this.registrations = this.registrations.filter((one) => one.id !== id)
    daemon.send(call.reply())
  }
}

/** What dialling a daemon that does not run rejects with. */
export function refused(): Error {
  return connectError('ATP_TRANSPORT_CONNECT', 'cannot connect to memory: ECONNREFUSED', { retryable: true })
}
