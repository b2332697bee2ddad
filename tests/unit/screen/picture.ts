import type { Picture } from '../../../framework/screen/index.ts'

/** A picture of one colour, with some pixels of others. */
export function picture(width: number, height: number, pixels: Record<string, number> = {}, colour = 0): Picture {
  const data = new Uint32Array(width * height).fill(colour)
  for (const [place, value] of Object.entries(pixels)) {
    const [x = 0, y = 0] = place.split(',').map(Number)
    data[y * width + x] = value
  }
  return { width, height, data }
}
