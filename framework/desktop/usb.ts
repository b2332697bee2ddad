import type { CallOptions } from '../core/index.ts'
import { parseChord, textStrokes, type Key } from '../keys/index.ts'
import { HidKeyboard, HidMouse, MassStorage, MemoryBlockStore } from '../protocols/spice/index.ts'
import { FileBlockStore } from './file-block-store.ts'

/** A USB keyboard that knows keys by all their names. Plug it in with `spice.plug(usbKeyboard())`. */
export class UsbKeyboard extends HidKeyboard {
  /**
   * Presses keys together and lets them go: `ctrl+alt+del`, `enter`.
   *
   * @throws `ATP_KEY_UNKNOWN`, `ATP_KEY_CHORD`, what `down` and `up` throw.
   */
  async press(chord: string, options: CallOptions = {}): Promise<void> {
    await this.#stroke(parseChord(chord), options)
  }

  /** Types text as on a US keyboard. @throws `ATP_KEY_UNMAPPED`, what `down` and `up` throw. */
  async type(text: string, options: CallOptions = {}): Promise<void> {
    for (const { key, modifiers } of textStrokes(text).strokes) await this.#stroke([...modifiers, key], options)
  }

  async #stroke(keys: readonly Key[], options: CallOptions): Promise<void> {
    const codes = keys.map(({ code, qcode }) => code ?? qcode)
    for (const code of codes) await this.down(code, options)
    for (const code of codes.toReversed()) await this.up(code, options)
  }
}

/** A USB keyboard made in software. */
export function usbKeyboard(): UsbKeyboard {
  return new UsbKeyboard()
}

/** A USB mouse made in software, with three buttons and a wheel. */
export function usbMouse(): HidMouse {
  return new HidMouse()
}

/**
 * A USB disk made in software, whose content is in a file or in memory: what the guest writes is written there. Its
 * size is a multiple of 512 bytes.
 */
export function usbStorage(content: { file: string }): MassStorage<FileBlockStore>
export function usbStorage(content: { bytes: Uint8Array }): MassStorage<MemoryBlockStore>
export function usbStorage(
  content: { file: string } | { bytes: Uint8Array },
): MassStorage<FileBlockStore> | MassStorage<MemoryBlockStore> {
  return 'file' in content
    ? new MassStorage(new FileBlockStore(content.file))
    : new MassStorage(new MemoryBlockStore(content.bytes))
}
