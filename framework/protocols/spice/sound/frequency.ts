/** Longest stretch that is looked at in one go: steps of 2.7 Hz at 44.1 kHz, which interpolation makes finer. */
const WINDOW_MAX = 16_384
/** Fewer samples say nothing about a frequency. */
const WINDOW_MIN = 256

/**
 * The frequency that is strongest in samples of one channel, over their whole length. Undefined for silence, and for
 * fewer than 256 samples.
 */
export function dominantFrequencyHz(samples: ArrayLike<number>, rateHz: number): number | undefined {
  let size = WINDOW_MAX
  while (size > samples.length) size /= 2
  if (size < WINDOW_MIN) return undefined
  const power = new Float64Array(size / 2)
  for (let start = 0; start + size <= samples.length; start += size) addPower(power, samples, start, size)
  // The first two steps hold what does not swing at all.
  let peak = 2
  for (let at = 3; at < power.length - 1; at++) if (of(power, at) > of(power, peak)) peak = at
  if (of(power, peak) === 0) return undefined
  const [before, top, after] = [peak - 1, peak, peak + 1].map((at) => Math.log(of(power, at) + Number.MIN_VALUE))
  const curve = (before as number) - 2 * (top as number) + (after as number)
  const shift = curve === 0 ? 0 : ((before as number) - (after as number)) / (2 * curve)
  return ((peak + shift) * rateHz) / size
}

const of = (numbers: ArrayLike<number>, at: number): number => numbers[at] ?? 0

/** Adds the power at each step of frequency in one stretch, whose ends are faded (Hann). */
function addPower(power: Float64Array, samples: ArrayLike<number>, start: number, size: number): void {
  const real = new Float64Array(size)
  const imaginary = new Float64Array(size)
  for (let at = 0; at < size; at++) {
    real[at] = of(samples, start + at) * (0.5 - 0.5 * Math.cos((2 * Math.PI * at) / size))
  }
  transform(real, imaginary)
  for (let at = 0; at < power.length; at++) power[at] = of(power, at) + of(real, at) ** 2 + of(imaginary, at) ** 2
}

/** Fourier transform in place; the length is a power of two (Cooley and Tukey). */
function transform(real: Float64Array, imaginary: Float64Array): void {
  const size = real.length
  for (let at = 1, mirrored = 0; at < size; at++) {
    let bit = size >> 1
    for (; mirrored & bit; bit >>= 1) mirrored ^= bit
    mirrored ^= bit
    if (at >= mirrored) continue
    for (const part of [real, imaginary]) [part[at], part[mirrored]] = [of(part, mirrored), of(part, at)]
  }
  for (let half = 1; half < size; half *= 2) {
    for (let step = 0; step < half; step++) {
      const angle = (-Math.PI * step) / half
      const [cos, sin] = [Math.cos(angle), Math.sin(angle)]
      for (let low = step; low < size; low += 2 * half) {
        const high = low + half
        const re = of(real, high) * cos - of(imaginary, high) * sin
        const im = of(real, high) * sin + of(imaginary, high) * cos
        const [lowRe, lowIm] = [of(real, low), of(imaginary, low)]
        real[high] = lowRe - re
        imaginary[high] = lowIm - im
        real[low] = lowRe + re
        imaginary[low] = lowIm + im
      }
    }
  }
}
