import { connectError, logger, messageOf, withDeadline, type CallOptions } from '../core/index.ts'
import type { Delivery, InputDefaults } from '../input/api.ts'
import { KeyboardDevice, MouseDevice } from '../input/index.ts'
import type { LeasedVm, Ownership } from '../leases/api.ts'
import type { Protocol, ProtocolType } from '../protocols/protocol.ts'
import { guestExec, type QgaClient } from '../protocols/qga/index.ts'
import type { QmpClient } from '../protocols/qmp/index.ts'
import type { UsbPorts } from '../protocols/spice/index.ts'
import type { TranscriptRecorder } from '../protocols/transcript.ts'
import {
  findPort,
  GuestResponder,
  type ResponderGuest,
  type VirtioSerialChannel,
  type VirtioSerialOptions,
  type VirtioSerialPort,
} from '../protocols/virtio-serial/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import type { Guest, Keyboard, Mouse, Verifier, Vm, VmState } from './api.ts'
import { collectEvidence, type Attach } from './evidence.ts'
import { AgentGuest } from './guest.ts'
import { inputHost } from './input-host.ts'
import type { Machine, MachineEvent } from './machine.ts'
import { Observation } from './observation.ts'
import { imageSize, SourceScreen, toPicture, type Screen, type Screenshot } from '../screen/index.ts'
import type { Sessions } from './sessions.ts'
import type { SpiceSession } from './spice-session.ts'
import { VerifierAgents, type AgentAccess, type ConnectingAgents } from './verifier-agents.ts'

/** Channels that belong to the framework or the guest's own services. */
const TAKEN_PORT =
  /^(org\.qemu\.guest_agent|atp\.evdev|atp\.clock|atp\.verifier|atp\.identity|com\.redhat\.spice|org\.spice-space|org\.libguestfs)\./

/** How long the host may take to report a reset, milliseconds. */
const RESET_TIMEOUT_MS = 10_000

export interface DesktopVmOptions {
  /** Hears of every input action that was carried out. */
  onDelivery?: (delivery: Delivery) => void
  /** What input is sent with that does not say. */
  input?: InputDefaults
  /** Verifier agents that connect to whoever runs the test. Default: none do. */
  agents?: ConnectingAgents
}

/**
 * A leased VM: what authors hold in a test.
 *
 * Sessions to it are opened when first used and end with {@link close}. Those with the guest's inside are void
 * once the guest starts anew or stops: calls on them reject, the next use opens new ones.
 */
export class DesktopVm implements Vm {
  readonly name: string
  readonly uuid: string
  readonly host: { readonly id: string; readonly uri: string }
  readonly ownership: Ownership
  readonly profile: string | undefined
  readonly keyboard: Keyboard
  readonly mouse: Mouse
  readonly guest: Guest
  readonly screen: Screen
  readonly #machine: Machine
  readonly #sessions: Sessions
  readonly #observation: Observation
  readonly #agents: VerifierAgents
  readonly #releaseInput: () => Promise<void>
  #closing: Promise<void> | undefined

  constructor(leased: LeasedVm, machine: Machine, sessions: Sessions, { onDelivery, input, agents }: DesktopVmOptions) {
    this.name = machine.domain.name
    this.uuid = machine.domain.uuid
    this.host = leased.host
    this.ownership = leased.ownership
    this.profile = leased.profile
    this.#machine = machine
    this.#sessions = sessions
    this.#agents = new VerifierAgents(sessions, agents)
    this.#observation = new Observation(sessions, this.#agents)
    const screenSize = async (options: CallOptions) => imageSize(await machine.rawScreenshot(options))
    const host = inputHost(sessions, this.#observation, screenSize, { onDelivery, ...(input && { defaults: input }) })
    const keyboard = new KeyboardDevice(host)
    const mouse = new MouseDevice(host, screenSize)
    this.keyboard = withholdSecrets(keyboard, sessions.transcript)
    this.mouse = mouse
    this.guest = new AgentGuest((options) => sessions.qga(options))
    this.screen = new SourceScreen({
      name: this.name,
      via: 'libvirt',
      picture: async (options) => toPicture(await machine.rawScreenshot(options)),
    })
    machine.listen((event) => {
      if (event === 'stopped' || event === 'crashed' || event === 'restarted') this.#voidSessions(event)
    })
    this.#releaseInput = async () => {
      await keyboard.releaseAll({ timeoutMs: RESET_TIMEOUT_MS })
      await mouse.releaseAll({ timeoutMs: RESET_TIMEOUT_MS })
    }
  }

  state(options?: CallOptions): Promise<VmState> {
    this.#sessions.assertOpen()
    return this.#machine.state(options)
  }

  waitForState(state: VmState, options?: CallOptions): Promise<void> {
    this.#sessions.assertOpen()
    return this.#machine.waitForState(state, options)
  }

  /** PNG, whatever the host delivers. */
  screenshot(options?: CallOptions): Promise<Screenshot> {
    this.#sessions.assertOpen()
    return this.#machine.screenshot(options)
  }

  async screenVia(via: Screen['via'], options?: CallOptions): Promise<Screen> {
    return via === 'spice' ? (await this.spice(options)).screen(options) : this.screen
  }

  async usb(options?: CallOptions): Promise<UsbPorts> {
    return (await this.spice(options)).usb
  }

  suspend(options?: CallOptions): Promise<void> {
    this.#sessions.assertOpen()
    return this.#machine.suspend(options)
  }

  resume(options?: CallOptions): Promise<void> {
    this.#sessions.assertOpen()
    return this.#machine.resume(options)
  }

  /**
   * Resets the machine without asking the guest. Resolves when the host reported it; by then sessions with the
   * guest's inside are void. The next use of the guest waits until it has booted.
   *
   * @throws `ATP_VM_ATTACHED`, `ATP_TIMEOUT`.
   */
  async reset(options: CallOptions = {}): Promise<void> {
    this.#sessions.assertOpen()
    let unlisten = () => {}
    const restarted = new Promise<void>((resolve) => {
      unlisten = this.#machine.listen((event) => event === 'restarted' && resolve())
    })
    try {
      await withDeadline(`resetting ${this.name}`, { timeoutMs: RESET_TIMEOUT_MS, ...options }, async (signal) => {
        await this.#machine.reset({ signal })
        await restarted
      })
    } finally {
      unlisten()
    }
  }

  shutdown(options?: CallOptions): Promise<void> {
    this.#sessions.assertOpen()
    return this.#machine.shutdown(options)
  }

  /**
   * The VM's QMP session through libvirt, one for all callers: do not close it. With `via: 'socket'` a new one on
   * QEMU's own socket, whose path the domain XML must name and which must be on this machine.
   *
   * @throws `ATP_QMP_NO_SOCKET`.
   */
  qmp({ via = 'libvirt', ...options }: CallOptions & { via?: 'libvirt' | 'socket' } = {}): Promise<QmpClient> {
    return via === 'socket' ? this.#sessions.qmpSocket(options) : this.#sessions.qmp(options)
  }

  /** The guest agent's session, once the agent answers. One for all callers; do not close it. */
  qga(options?: CallOptions): Promise<QgaClient> {
    return this.#sessions.qga(options)
  }

  /**
   * The SPICE session with the VM's console, one for all callers: do not end it. Main channel and inputs are open.
   */
  spice(options?: CallOptions): Promise<SpiceSession> {
    return this.#sessions.spice(options)
  }

  /** The verifier agent in it, or with `level: 'browser'` the one in a browser; waits until it is connected. */
  verifier(options?: CallOptions & { level?: 'kernel' | 'browser' }): Promise<Verifier> {
    this.#sessions.assertOpen()
    return this.#agents.verifier(options)
  }

  /** What an agent in it is started with to connect to this run over a network. Its VM id is the VM's UUID. */
  verifierAccess(options?: CallOptions): Promise<AgentAccess> {
    this.#sessions.assertOpen()
    return this.#agents.access(options)
  }

  /** Its virtio-serial ports, as the XML names them now. */
  ports(): Promise<VirtioSerialPort[]> {
    return this.#sessions.ports()
  }

  /**
   * Messages over a virtio-serial channel, newline-framed unless said otherwise. Without a name the first channel
   * that nothing else uses (`atp.channel.0` in the lab).
   *
   * @throws `ATP_VIRTIO_SERIAL_NO_CHANNEL`, or `ATP_LIBVIRT_CHANNEL_BUSY` while it is open already.
   */
  async serial(name?: string, how?: VirtioSerialOptions, options?: CallOptions): Promise<VirtioSerialChannel> {
    return this.#sessions.channel(name ?? (await this.#freePort()), how, options)
  }

  /** A virtio-serial channel as plain bytes; the same rules. */
  async channel(name?: string, options?: CallOptions): Promise<ByteStream> {
    return this.#sessions.stream(name ?? (await this.#freePort()), options)
  }

  /**
   * Commands and files over a virtio-serial channel instead of the guest agent. Starts its other side in the guest
   * (a POSIX shell); the same rules as {@link serial}.
   */
  async responder(name?: string, options?: CallOptions): Promise<GuestResponder> {
    const guest: ResponderGuest = {
      openChannel: (port, bounds) => this.#sessions.channel(port, { framing: 'raw' }, bounds),
      start: async (path, args, bounds) =>
        (await this.qga(bounds)).exec(guestExec(path, { args, captureOutput: false }), bounds),
    }
    return GuestResponder.start(guest, name ?? (await this.#freePort()), options)
  }

  /** A connected protocol of any registered type, disconnected with the VM. */
  protocol(type: ProtocolType, options?: CallOptions): Promise<Protocol> {
    return this.#sessions.protocol(type, options)
  }

  /** Screen, serial console and protocol transcript for a report. Never rejects: what is missing says why. */
  collectEvidence(attach: Attach, options?: CallOptions): Promise<void> {
    return collectEvidence(this.#machine, this.#sessions, attach, options)
  }

  /** Ends the recording of its SPICE displays and hands out a film of each that was opened: an animated PNG. */
  async collectVideo(attach: Attach): Promise<void> {
    await this.#sessions.recordings?.finish(attach)
  }

  /**
   * Ends all sessions. A VM that lives on is left without pressed keys and without our programs; one that ends
   * with its lease is not asked for anything. Idempotent.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const steps: (() => Promise<unknown> | void)[] = []
    if (this.ownership === 'pristine') {
      steps.push(() => this.#observation.abandon(connectError('ATP_VM_SESSION_VOID', `${this.name} was given back`)))
    } else steps.push(this.#releaseInput, () => this.#observation.stop())
    steps.push(
      () => this.#machine.unwatch(),
      () => this.#sessions.close(),
    )
    const errors: unknown[] = []
    for (const step of steps) {
      try {
        await step()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0) throw errors[0]
  }

  async #freePort(): Promise<string> {
    const ports = await this.#sessions.ports()
    const free = ports.find(({ name }) => !TAKEN_PORT.test(name))
    return free?.name ?? findPort(this.name, ports, 'atp.channel.0').name
  }

  #voidSessions(event: MachineEvent): void {
    const reason = connectError(
      'ATP_VM_SESSION_VOID',
      `${this.name} ${event}; sessions with the guest from before are void`,
    )
    this.#observation.abandon(reason)
    this.#sessions
      .void(reason)
      .catch((error: unknown) => logger('desktop').warn`ending sessions of ${this.name} failed: ${messageOf(error)}`)
  }
}

/** Keystrokes of a secret are recognisable to nobody but a reader of the transcript: they stay out of it. */
function withholdSecrets(keyboard: KeyboardDevice, transcript: TranscriptRecorder): Keyboard {
  return {
    get deliveries() {
      return keyboard.deliveries
    },
    async type(text, options) {
      const end = typeof text === 'string' ? undefined : transcript.withhold()
      try {
        return await keyboard.type(text, options)
      } finally {
        end?.()
      }
    },
    press: (chord, options) => keyboard.press(chord, options),
    down: (key, options) => keyboard.down(key, options),
    up: (key, options) => keyboard.up(key, options),
  }
}
