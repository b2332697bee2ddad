import { readFileSync } from 'node:fs'

/** An image that a real server sent, and what it must decode to. */
export interface Recording {
  file: string
  /** `QUIC_IMAGE_TYPE_*` */
  type: number
  width: number
  height: number
  /** Hash of the bitmap that the guest drew, as pixels of `0xAARRGGBB` in little-endian words. */
  sha256: string
}

const folder = new URL('../recorded/quic/', import.meta.url)

export const RECORDED = JSON.parse(readFileSync(new URL('pictures.json', folder), 'utf8')) as Recording[]

export function recordedBytes(file: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(readFileSync(new URL(file, folder)))
}
