import { connect, type Socket } from 'node:net'
import { configError, connectError, messageOf, Secret, withDeadline, type CallOptions } from '../../core/index.ts'
import type { AgentAccess, ConnectingAgents } from '../../desktop/index.ts'
import { fromWireError } from '../../leases/codec.ts'
import { encodeFrame, RelayedWay, vmIdKey, type AgentAddress, type AgentWay } from '../../verify/index.ts'
import { lengthFraming } from '../../../guest/protocol/index.ts'
import type { AtpContext } from '../context.ts'
import type { AgentAccess as DoorAccess, DoorQuestion } from '../verification-door.ts'

type Settings = NonNullable<AtpContext['verification']>

/** What one test says of its agents. */
export interface AgentWish {
  /** A further name that the agent may give the VM. */
  vmId?: string
  connectionTimeoutMs?: number
  /** Where the run must listen. */
  addresses?: ListenAddress[]
}
interface ListenAddress {
  transport: 'websocket' | 'tcp'
  /** `127.0.0.1:8765` */
  address: string
}

const NO_GATEWAY: Settings = { door: undefined, vms: {}, connectionTimeoutMs: 10_000 }
const ANY_HOST = ['0.0.0.0', '::', 'localhost']

/** The verifier agents that connect to the run's main process, for the VMs of this worker. */
export class GatewayAgents implements ConnectingAgents {
  readonly connectionTimeoutMs: number
  readonly #settings: Settings
  readonly #wish: AgentWish

  /** @param settings absent: the run listens for none, and a VM's port is all there is */
  constructor(settings: Settings = NO_GATEWAY, wish: AgentWish = {}) {
    this.#settings = settings
    this.#wish = wish
    this.connectionTimeoutMs = wish.connectionTimeoutMs ?? settings.connectionTimeoutMs
  }

  vmIds(vm: { name: string; uuid: string }): readonly string[] {
    const names = [vm.name, vm.uuid].map(vmIdKey)
    const { vmId: own } = this.#wish
    const configured = Object.entries(this.#settings.vms)
    return [
      ...configured.flatMap(([vmId, of]) => (names.includes(vmIdKey(of)) ? [vmId] : [])),
      ...(own === undefined ? [] : [own]),
    ]
  }

  /**
   * @throws `ATP_VERIFIER_CLAIMED`, `ATP_VERIFIER_CLOSED` when the run is over, `ATP_VERIFIER_ADDRESS` when it does not
   *   listen where the scenario says
   */
  async claim(address: AgentAddress, options: CallOptions): Promise<AgentWay | undefined> {
    for (const wanted of this.#wish.addresses ?? []) await this.#assertListening(wanted, options)
    if (!this.#settings.door) return undefined
    const { way } = await this.#ask({ ask: 'claim', address }, options)
    return way
  }

  /** @throws `ATP_VERIFIER_CLOSED` when the run is over */
  async access(vmId: string, options: CallOptions): Promise<AgentAccess | undefined> {
    if (!this.#settings.door) return undefined
    const { way, ok } = await this.#ask({ ask: 'access', vmId }, options)
    way.close()
    const { urls, token } = ok as DoorAccess
    return { vmId, urls, token: new Secret(`the token of the verifier agent ${vmId}`, token) }
  }

  async #assertListening({ transport, address }: ListenAddress, options: CallOptions): Promise<void> {
    const urls = (await this.access('', options))?.urls ?? []
    const [, host = '', port] = /^\[?(.*?)\]?:(\d+)$/.exec(address) ?? []
    const schemes = transport === 'websocket' ? ['ws:', 'wss:'] : ['tcp:', 'tls:']
    const isThere = urls
      .filter((text) => URL.canParse(text))
      .some((text) => {
        const url = new URL(text)
        const isSameHost = ANY_HOST.includes(host) || url.hostname === host
        return schemes.includes(url.protocol) && url.port === port && isSameHost
      })
    if (isThere) return
    throw configError(
      'ATP_VERIFIER_ADDRESS',
      `the scenario expects its agent at ${address} (${transport}), but the run listens at ${urls.join(', ') || 'no address'}`,
      { remedy: `set verification.${transport} in atp.config.ts, or leave the address out of the scenario` },
    )
  }

  async #ask(
    question: DoorQuestion extends infer Q ? (Q extends { key: string } ? Omit<Q, 'key'> : never) : never,
    options: CallOptions,
  ): Promise<{ way: RelayedWay; ok: unknown }> {
    const { path, key } = this.#settings.door as NonNullable<Settings['door']>
    const socket = connect(path)
    const way = new RelayedWay(socket)
    try {
      const answer = firstAnswer(socket, (text) => way.read(text))
      // Nobody looks at it any more after the deadline.
      answer.catch(() => {})
      socket.write(encodeFrame({ key, ...question }))
      const ok = await withDeadline('asking the run for a verifier agent', options, () => answer)
      return { way, ok }
    } catch (error) {
      socket.destroy()
      throw error
    }
  }
}

/** The first frame; those after it go to `onFrame`. */
function firstAnswer(socket: Socket, onFrame: (text: string) => void): Promise<unknown> {
  const gone = (why: string) =>
    connectError('ATP_VERIFIER_CLOSED', `the run cannot be asked for verifier agents: ${why}`)
  const decoder = lengthFraming.decoder()
  let isAnswered = false
  return new Promise((resolve, reject) => {
    socket.on('error', (error) => reject(gone(messageOf(error))))
    socket.on('close', () => reject(gone('it is over')))
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const text of decoder.push(chunk)) {
          if (isAnswered) {
            onFrame(text)
            continue
          }
          isAnswered = true
          const { ok, error } = JSON.parse(text) as { ok?: unknown; error?: unknown }
          if (error === undefined) resolve(ok)
          else reject(fromWireError(error))
        }
      } catch (error) {
        socket.destroy(error as Error)
      }
    })
  })
}
