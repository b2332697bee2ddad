import { isAtpError, stateError, type CallOptions } from '../core/index.ts'
import {
  type CursorState,
  DisplayPicture,
  type DisplayChannel,
  type DisplayFigures,
  drawCursor,
  encodingReport,
  type EncodingReport,
  type EncodingReportOptions,
  type InputsChannel,
  type MainChannel,
  measureDisplay,
  type MeasureOptions,
  SpiceAgent,
  type SpicePort,
  SpicePorts,
  showCursor,
  SmartCardReader,
  type SpiceChannel,
  SpiceSound,
  type SpiceVmConnection,
  type UsbDevice,
  UsbPorts,
  type UsbRedirection,
} from '../protocols/spice/index.ts'
import { crop, SourceScreen, type Region, type Screen } from '../screen/index.ts'
import { imageWorkers } from './image-workers.ts'
import { streamScreen, type ScreenStreamFigures, type ScreenStreamOptions } from './screen-stream.ts'
import { SharedFolder } from './shared-folder/shared-folder.ts'

/** Who hears of what happens in a session. */
export interface SpiceSessionHooks {
  /** A display was opened. */
  onPicture?: ((display: number, picture: DisplayPicture) => void) | undefined
  /** A display was measured. */
  onFigures?: ((figures: DisplayFigures) => void) | undefined
  /** A report of what the server offers was made. */
  onEncodings?: ((report: EncodingReport) => void) | undefined
  /** Whether the VM runs. */
  isRunning?: (() => Promise<boolean>) | undefined
}

/**
 * The SPICE session with a VM's console, as its author has it. The VM owns it.
 *
 * Main channel and inputs are open; what else the console offers is opened when it is first used.
 */
export class SpiceSession {
  /** The session itself: channels, state, reconnection. */
  readonly connection: SpiceVmConnection
  /** The VM's USB ports, and what is plugged into them. */
  readonly usb: UsbPorts
  /** The VM's smart-card reader: `insert(card)`, `eject()`. */
  readonly smartCards: SmartCardReader
  /** What the VM plays and records. */
  readonly sound: SpiceSound
  readonly #name: string
  readonly #hooks: SpiceSessionHooks
  readonly #ports: SpicePorts
  #agent: SpiceAgent | undefined
  #workers: ReturnType<typeof imageWorkers.share> | undefined
  readonly #pictures = new Map<number, Promise<DisplayPicture>>()
  readonly #pointers = new Map<number, Promise<CursorState>>()

  constructor(name: string, connection: SpiceVmConnection, hooks: SpiceSessionHooks = {}) {
    this.#name = name
    this.#hooks = hooks
    this.connection = connection
    this.usb = new UsbPorts(connection)
    this.#ports = new SpicePorts(connection)
    this.smartCards = new SmartCardReader(connection)
    this.sound = new SpiceSound(connection)
  }

  get main(): MainChannel {
    return this.connection.main
  }

  inputs(options?: CallOptions): Promise<InputsChannel> {
    return this.connection.openChannel('inputs', options)
  }

  /** Plugs a device into a free USB port, see {@link UsbPorts.plug}. `unplug()` of what it resolves to takes it out. */
  plug<D extends UsbDevice>(device: D, options?: CallOptions): Promise<UsbRedirection<D>> {
    return this.usb.plug(device, options)
  }

  /**
   * The guest's SPICE agent: clipboard, files, monitors. Asked for the first time it tells the agent that a client is
   * there; its calls wait for the agent.
   */
  get agent(): SpiceAgent {
    return (this.#agent ??= new SpiceAgent(this.main))
  }

  /** A port of the VM by its name, see {@link SpicePorts.port}. */
  port(name: string, options?: CallOptions): Promise<SpicePort> {
    return this.#ports.port(name, options)
  }

  /** Shares a folder of this machine with the guest until it is closed, see {@link SharedFolder.share}. */
  shareFolder(folder: string, options: CallOptions = {}): Promise<SharedFolder> {
    return SharedFolder.share(this.connection, folder, options)
  }

  /**
   * The screen as the client of a desktop sees it; with `pointer` also the one that the guest draws, where it shows any.
   * Where that is only the server's mouse mode tells.
   *
   * Displays are graphics cards, counted from 0. Of a VM with one card for all its monitors, `display: 1` is the second
   * monitor; `display: 0` is the whole screen.
   *
   * @throws `ATP_SPICE_NO_CHANNEL` when the VM has no such display.
   */
  async screen({
    display = 0,
    pointer = false,
    ...options
  }: CallOptions & { display?: number; pointer?: boolean } = {}): Promise<Screen> {
    const isCard = display === 0 || this.main.channels.some(({ type, id }) => type === 'display' && id === display)
    const first = isCard ? undefined : await this.picture(0, options)
    // Before its first picture is complete it does not know its monitors.
    await first?.screenshot(options)
    const monitor = first?.monitors?.heads[display] ? display : undefined
    const card = monitor === undefined ? display : 0
    const picture = await this.picture(card, options)
    const cursor = pointer ? await this.#showPointer(card, options) : undefined
    return new SourceScreen({
      name: this.#name,
      via: 'spice',
      picture: async (bounds) => {
        const pixels = await picture.screenshot(bounds)
        if (cursor?.shape && cursor.isVisible) drawCursor(pixels, cursor.shape, cursor.position.x, cursor.position.y)
        return monitor === undefined ? pixels : crop(pixels, this.#monitor(picture, monitor))
      },
      // The pointer moves without the picture: then it is looked at again and again.
      ...(cursor ? {} : { changed: (bounds) => picture.changed(bounds) }),
    })
  }

  /** Where a monitor lies on its screen now. */
  #monitor(picture: DisplayPicture, monitor: number): Region {
    const head = picture.monitors?.heads[monitor]
    if (head) return head
    throw stateError('ATP_SPICE_MONITOR_GONE', `${this.#name} has no monitor ${monitor} any more`, {
      verdict: 'product',
    })
  }

  /** What a display shows, with counters of what the server sent. */
  picture(display = 0, options: CallOptions = {}): Promise<DisplayPicture> {
    const known = this.#pictures.get(display)
    if (known) return known
    const opening = this.#openPicture(display, options)
    this.#pictures.set(display, opening)
    opening.catch(() => this.#pictures.delete(display))
    return opening
  }

  /**
   * Measures for a while what a display does; the report shows the figures.
   *
   * @throws what {@link measureDisplay} and {@link picture} throw.
   */
  async measure({ display = 0, ...options }: MeasureOptions & { display?: number }): Promise<DisplayFigures> {
    const picture = await this.picture(display, options)
    const channel = await this.connection.openChannel('display', { id: display, ...options })
    const figures = await measureDisplay(channel, picture, options)
    this.#hooks.onFigures?.(figures)
    return figures
  }

  /**
   * What the server offers: channels, capabilities, compressions. It becomes a part of the test's report.
   *
   * @throws what {@link encodingReport} throws.
   */
  async encodings(options: EncodingReportOptions = {}): Promise<EncodingReport> {
    const { signal, timeoutMs } = options
    const hasDisplay = this.main.channels.some(({ type }) => type === 'display')
    const picture = hasDisplay ? await this.picture(0, { signal, timeoutMs }) : undefined
    const report = await encodingReport(this.connection, picture, options)
    this.#hooks.onEncodings?.(report)
    return report
  }

  /** Streams what a display shows to a folder or to a server. @throws what {@link streamScreen} throws. */
  async stream({ display = 0, ...options }: ScreenStreamOptions & { display?: number }): Promise<ScreenStreamFigures> {
    return await streamScreen(await this.picture(display), options)
  }

  /**
   * Ends the session. USB devices are unplugged first when the VM is known to run: what is said to one that is suspended
   * ends its QEMU when the next session begins.
   */
  async close(): Promise<void> {
    try {
      if (this.usb.plugged.length > 0 && (await this.#hooks.isRunning?.())) await this.usb.close()
    } catch (error) {
      // Suspended, or gone, in this moment.
      if (!isAtpError(error)) throw error
    } finally {
      try {
        await this.connection.disconnectAll()
      } finally {
        await this.#workers?.release()
      }
    }
  }

  #showPointer(id: number, options: CallOptions): Promise<CursorState> {
    const known = this.#pointers.get(id)
    if (known) return known
    let state: CursorState | undefined
    const prepare = (channel: SpiceChannel) => void (state = showCursor(channel))
    const opening = this.connection.openChannel('cursor', { id, prepare, ...options }).then(() => {
      if (state) return state
      throw this.#taken(`pointer ${id}`)
    })
    this.#pointers.set(id, opening)
    opening.catch(() => this.#pointers.delete(id))
    return opening
  }

  async #openPicture(id: number, options: CallOptions): Promise<DisplayPicture> {
    let picture: DisplayPicture | undefined
    const { decode } = (this.#workers ??= imageWorkers.share())
    const prepare = (channel: DisplayChannel) => void (picture = new DisplayPicture(channel, { decode }))
    await this.connection.openChannel('display', { id, prepare, ...options })
    if (picture) {
      this.#hooks.onPicture?.(id, picture)
      return picture
    }
    throw this.#taken(`display ${id}`)
  }

  #taken(what: string): Error {
    return stateError('ATP_SPICE_DISPLAY_TAKEN', `${what} of ${this.#name} was opened past its session`, {
      remedy: 'use picture() or screen() instead of connection.openChannel',
    })
  }
}
