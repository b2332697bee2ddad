import { readFileSync, watch, type FSWatcher } from 'node:fs'
import { basename, join } from 'node:path'
import { messageOf, unsupportedError } from '../../../framework/core/errors.ts'
import { parseInputDevices, type GuestInputDevice } from '../../../framework/verify/input-devices.ts'
import type { InputSink } from '../../core/index.ts'
import type { InputDevice } from '../../protocol/index.ts'
import { readEvdev, type EvdevReader } from './evdev-reader.ts'
import type { Observer } from './shared-source.ts'

const KINDS: Readonly<Record<InputDevice, readonly GuestInputDevice['kind'][]>> = {
  keyboard: ['keyboard'],
  mouse: ['mouse', 'tablet'],
}
/** A plugged device appears as several changes of the folder. */
const SETTLE_MS = 50

/** Where Linux tells of its input devices. */
export interface EvdevPlaces {
  /** `/proc/bus/input/devices` */
  list: string
  /** `/dev/input` */
  folder: string
}
const PLACES: EvdevPlaces = { list: '/proc/bus/input/devices', folder: '/dev/input' }

/**
 * All keyboards, or all mice and tablets, of a Linux guest, those that are plugged in later included. Values are the
 * kernel's own: positions in the device's units, which for QEMU's tablets are 0…32767 over the whole screen.
 */
export class EvdevDevices implements Observer {
  readonly #device: InputDevice
  readonly #places: EvdevPlaces
  readonly #readers = new Map<string, EvdevReader>()
  #watcher: FSWatcher | undefined
  #rescan: NodeJS.Timeout | undefined

  constructor(device: InputDevice, places: EvdevPlaces = PLACES) {
    this.#device = device
    this.#places = places
  }

  /** @throws `ATP_VERIFIER_DEVICE` when there is none, or it may not be read. */
  async start(sink: InputSink): Promise<void> {
    this.#scan(sink, (error) => {
      throw error
    })
    if (this.#readers.size === 0) {
      throw unsupportedError('ATP_VERIFIER_DEVICE', `this guest has no ${this.#device} that can be observed`, {
        remedy: "give the VM that device and its kernel the driver; the guest's kernel must be a 64-bit Linux",
      })
    }
    this.#watcher ??= this.#watch(sink)
  }

  #watch(sink: InputSink): FSWatcher {
    try {
      const watcher = watch(this.#places.folder, () => {
        clearTimeout(this.#rescan)
        this.#rescan = setTimeout(() => this.#scanLater(sink), SETTLE_MS)
      })
      return watcher.on('error', (error) => {
        this.#watcher = undefined
        sink.onGap(`new input devices are not noticed any more: ${messageOf(error)}`)
      })
    } catch (error) {
      throw unsupportedError('ATP_VERIFIER_DEVICE', `new input devices would not be noticed: ${messageOf(error)}`)
    }
  }

  close(): void {
    this.#watcher?.close()
    this.#watcher = undefined
    clearTimeout(this.#rescan)
    for (const reader of this.#readers.values()) reader.stop()
    this.#readers.clear()
  }

  /** Something was plugged in or pulled out. What cannot be observed then is a gap, and the others are observed. */
  #scanLater(sink: InputSink): void {
    try {
      this.#scan(sink, (error) => sink.onGap(messageOf(error)))
    } catch (error) {
      sink.onGap(messageOf(error))
    }
  }

  /** Reads every device that is not read yet. @throws `ATP_VERIFIER_DEVICE` */
  #scan(sink: InputSink, onFailure: (error: unknown) => void): void {
    for (const { path: listed, name, kind } of this.#list()) {
      const path = join(this.#places.folder, basename(listed))
      if (!KINDS[this.#device].includes(kind) || this.#readers.has(path)) continue
      try {
        const reader = readEvdev(path, sink.onInput, sink.onGap, (reason) => {
          this.#readers.delete(path)
          sink.onGap(`${name} (${path}) is no longer observed: ${reason}`)
        })
        this.#readers.set(path, reader)
      } catch (error) {
        onFailure(error)
      }
    }
  }

  #list(): GuestInputDevice[] {
    try {
      return parseInputDevices(readFileSync(this.#places.list, 'utf8'))
    } catch (error) {
      throw unsupportedError('ATP_VERIFIER_DEVICE', `the input devices cannot be listed: ${messageOf(error)}`)
    }
  }
}
