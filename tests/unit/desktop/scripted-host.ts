import { remoteError, type CallOptions } from '../../../framework/core/index.ts'
import type { MachineHost } from '../../../framework/desktop/machine.ts'
import type { Domain, LifecycleEvent, LifecycleEventName } from '../../../framework/protocols/libvirt/index.ts'
import type { MonitorEvent, ProtocolTarget } from '../../../framework/protocols/protocol.ts'
import { memoryPair } from '../../../framework/transport/index.ts'
import type { ByteStream } from '../../../framework/wire/byte-stream.ts'
import { ScriptedAgent } from '../qga/scripted-agent.ts'

const DOMAIN: Domain = { name: 'vm-001', uuid: '6f1c1a3e-0000-4000-8000-000000000001', id: 7 }

/** One host with one VM, in memory: what libvirt would do, reduced to what a VM object can tell apart. */
export class ScriptedHost {
  readonly agent = new ScriptedAgent()
  /** Calls of the libvirt client by name, and QMP commands as `qmp:<command>`. */
  readonly calls: string[] = []
  /** The guest's ends of opened channels, by name. */
  readonly channels = new Map<string, ByteStream>()
  state: string | undefined = 'running'
  screen = { contentType: 'image/x-portable-pixmap', bytes: ppm(4, 2) }
  inputs = "<input type='keyboard' bus='ps2'/><input type='tablet' bus='virtio'/>"
  ports = ['org.qemu.guest_agent.0', 'atp.channel.0']
  readonly #lifecycle = new Set<(event: LifecycleEvent) => void>()
  readonly #reboot = new Set<() => void>()
  readonly #monitor = new Set<(event: MonitorEvent) => void>()

  constructor() {
    this.agent.answer('guest-get-osinfo', () => ({ id: 'atp' }))
  }

  get subscriptions(): number {
    return this.#lifecycle.size + this.#reboot.size + this.#monitor.size
  }

  emit(event: LifecycleEventName): void {
    for (const handler of this.#lifecycle) handler({ domain: DOMAIN, event, detail: 0 })
  }
  restart(): void {
    for (const handler of this.#reboot) handler()
  }
  monitorEvent(event: string): void {
    for (const handler of this.#monitor) handler({ event, timestamp: { seconds: 1, microseconds: 0 }, data: {} })
  }

  get host(): MachineHost {
    return {
      client: async () => this.#client(),
      target: async () => this.#target(),
      onLifecycle: async (_: Domain, handler: (event: LifecycleEvent) => void) => subscribe(this.#lifecycle, handler),
      onReboot: async (_: Domain, handler: () => void) => subscribe(this.#reboot, handler),
    } as unknown as MachineHost
  }

  #client() {
    const call = (name: string) => async () => void this.calls.push(name)
    return {
      lookupByName: async () => DOMAIN,
      lookupByUuid: async () => DOMAIN,
      getState: async () => {
        if (this.state === undefined) throw remoteError('ATP_LIBVIRT_NO_DOMAIN', 'gone')
        return { state: this.state, reason: 0 }
      },
      screenshot: async () => this.screen,
      suspend: call('suspend'),
      resume: call('resume'),
      shutdown: call('shutdown'),
      reset: async () => {
        this.calls.push('reset')
        setImmediate(() => this.restart())
      },
    }
  }

  #target(): ProtocolTarget {
    return {
      name: DOMAIN.name,
      uuid: DOMAIN.uuid,
      xml: async () => this.#xml(),
      monitorCommand: async (json) => {
        this.calls.push(`qmp:${(JSON.parse(json) as { execute: string }).execute}`)
        return '{"return":{}}'
      },
      humanMonitorCommand: async () => '',
      agentCommand: (json: string, options?: CallOptions) => this.agent.agentCommand(json, options),
      onMonitorEvent: async (handler) => subscribe(this.#monitor, handler),
      openChannel: async (name) => {
        const [here, guest] = memoryPair()
        guest.start({ onData: () => {}, onClose: () => {} })
        this.channels.set(name, guest)
        return here
      },
    }
  }

  #xml(): string {
    const channels = this.ports.map(
      (name) => `<channel type='unix'><target type='virtio' name='${name}' state='disconnected'/></channel>`,
    )
    return `<domain type='qemu'><name>${DOMAIN.name}</name><uuid>${DOMAIN.uuid}</uuid><devices>
      ${channels.join('')}${this.inputs}</devices></domain>`
  }
}

function subscribe<T>(handlers: Set<T>, handler: T): () => Promise<void> {
  handlers.add(handler)
  return async () => void handlers.delete(handler)
}

/** A picture whose pixels count up. */
export function ppm(width: number, height: number): Uint8Array {
  const pixels = Uint8Array.from({ length: width * height * 3 }, (_, i) => i)
  return Buffer.concat([Buffer.from(`P6\n# by QEMU\n${width} ${height}\n255\n`), pixels])
}
