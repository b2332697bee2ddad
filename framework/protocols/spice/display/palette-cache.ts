import { spiceProtocolError } from '../errors.ts'

// The server itself keeps 128 for a client.
const MAX_PALETTES = 1024

/** Palettes that the server expects the client of a display channel to remember. */
export class PaletteCache {
  readonly #palettes = new Map<bigint, Uint32Array>()

  /** @throws `ATP_SPICE_PROTOCOL` for more palettes than any server keeps. */
  put(id: bigint, colors: Uint32Array): void {
    if (this.#palettes.size >= MAX_PALETTES && !this.#palettes.has(id)) {
      throw spiceProtocolError('palette cache', `more than ${MAX_PALETTES} palettes`)
    }
    this.#palettes.set(id, colors)
  }

  /** @throws `ATP_SPICE_PROTOCOL` when there is no such palette. */
  get(id: bigint): Uint32Array {
    const found = this.#palettes.get(id)
    if (!found) throw spiceProtocolError('palette cache', `it has no palette ${id}`)
    return found
  }

  forget(id: bigint): void {
    this.#palettes.delete(id)
  }

  clear(): void {
    this.#palettes.clear()
  }
}
