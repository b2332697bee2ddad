import { createHash } from 'node:crypto'

/** Size of a screen, and SHA-256 of its pixels as `0x00RRGGBB`, little-endian. */
export interface PictureHash {
  width: number
  height: number
  sha256: string
}

export function hashOf({ width, height, data }: { width: number; height: number; data: Uint32Array }): PictureHash {
  const colours = data.map((pixel) => pixel & 0xffffff)
  return { width, height, sha256: createHash('sha256').update(colours).digest('hex') }
}
