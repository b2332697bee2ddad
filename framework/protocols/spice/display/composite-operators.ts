import { scaled, times } from './draw-blend.ts'
import { FLOAT_OPERATORS, type Combine } from './float-operators.ts'

/** How one colour component is combined; all are 0 to 255 and premultiplied. */
type Blend = (source: number, sourceAlpha: number, destination: number, destinationAlpha: number) => number

// Called with the alphas as components, each computes the resulting alpha.
const BLENDS: Readonly<Record<number, Blend>> = {
  0x00: () => 0,
  0x01: (s) => s,
  0x02: (_s, _sa, d) => d,
  0x03: (s, sa, d) => sum(s, times(d, 255 - sa)),
  0x04: (s, _sa, d, da) => sum(times(s, 255 - da), d),
  0x05: (s, _sa, _d, da) => times(s, da),
  0x06: (_s, sa, d) => times(d, sa),
  0x07: (s, _sa, _d, da) => times(s, 255 - da),
  0x08: (_s, sa, d) => times(d, 255 - sa),
  0x09: (s, sa, d, da) => sum(times(s, da), times(d, 255 - sa)),
  0x0a: (s, sa, d, da) => sum(times(s, 255 - da), times(d, sa)),
  0x0b: (s, sa, d, da) => sum(times(s, 255 - da), times(d, 255 - sa)),
  0x0c: (s, _sa, d) => sum(s, d),
  0x0d: (s, sa, d, da) => sum(sa > 255 - da ? times(s, ratio(255 - da, sa)) : s, d),
  0x30: (s, sa, d, da) => sum(times(d, s), sum(times(s, 255 - da), times(d, 255 - sa))),
  0x31: separable((s, sa, d, da) => d * sa + s * da - s * d),
  0x32: separable((s, sa, d, da) => (2 * d < da ? 2 * s * d : sa * da - 2 * (da - d) * (sa - s))),
  0x33: separable((s, sa, d, da) => Math.min(s * da, d * sa)),
  0x34: separable((s, sa, d, da) => Math.max(s * da, d * sa)),
  0x37: separable((s, sa, d, da) => (2 * s < sa ? 2 * s * d : sa * da - 2 * (da - d) * (sa - s))),
  0x39: separable((s, sa, d, da) => Math.abs(s * da - d * sa)),
  0x3a: separable((s, sa, d, da) => s * da + d * sa - 2 * s * d),
}

/** Pixman's operators by number: those that QXL has. */
export const OPERATORS: Readonly<Record<number, Combine | undefined>> = {
  ...FLOAT_OPERATORS,
  ...Object.fromEntries(Object.entries(BLENDS).map(([number, blend]) => [number, combineBytes(blend)])),
}

function combineBytes(blend: Blend): Combine {
  return (source, factors, destination, byComponent) => {
    const faded = byComponent ? source : scaled(source, factors >>> 24)
    const sourceAlpha = faded >>> 24
    const destinationAlpha = destination >>> 24
    let pixel = 0
    for (let shift = 0; shift < 32; shift += 8) {
      const component = (faded >>> shift) & 0xff
      const below = (destination >>> shift) & 0xff
      const factor = (factors >>> shift) & 0xff
      const result = byComponent
        ? blend(times(component, factor), times(sourceAlpha, factor), below, destinationAlpha)
        : blend(component, sourceAlpha, below, destinationAlpha)
      pixel |= result << shift
    }
    return pixel >>> 0
  }
}

function sum(a: number, b: number): number {
  return Math.min(a + b, 255)
}

function ratio(a: number, b: number): number {
  return Math.trunc((a * 255 + (b >>> 1)) / b)
}

function separable(blend: Blend): Blend {
  return (s, sa, d, da) => {
    const total = (255 - sa) * d + (255 - da) * s + blend(s, sa, d, da)
    const rounded = Math.min(Math.max(total, 0), 255 * 255) + 0x80
    return (rounded + (rounded >>> 8)) >>> 8
  }
}
