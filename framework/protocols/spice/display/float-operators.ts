/**
 * Combines two premultiplied pixels.
 *
 * @param factors a pixel by whose components the source is multiplied.
 * @param byComponent whether each component has its own factor; else the alpha of `factors` is that of all.
 */
export type Combine = (source: number, factors: number, destination: number, byComponent: boolean) => number

/** Red, green and blue, 0 to 1 and premultiplied. */
type Colors = [number, number, number]

/** How colours that lie over each other mix. */
type Mix = (s: Colors, sa: Colors, d: Colors, da: number) => Colors

/** The operators that pixman computes in floating point: some blend modes of PDF 1.7 (11.3.5). */
export const FLOAT_OPERATORS: Readonly<Record<number, Combine | undefined>> = {
  0x35: combineFloats(separable(colorDodge)),
  0x36: combineFloats(separable(colorBurn)),
  0x38: combineFloats(separable(softLight)),
  0x3b: combineFloats((s, [sa], d, da) => {
    const hue = withSaturation(times(s, da), saturation(d) * sa)
    return withLuminosity(hue, sa * da, luminosity(d) * sa)
  }, true),
  0x3c: combineFloats((s, [sa], d, da) => {
    const saturated = withSaturation(times(d, sa), saturation(s) * da)
    return withLuminosity(saturated, sa * da, luminosity(d) * sa)
  }, true),
  0x3d: combineFloats((s, [sa], d, da) => withLuminosity(times(s, da), sa * da, luminosity(d) * sa), true),
  0x3e: combineFloats((s, [sa], d, da) => withLuminosity(times(d, sa), sa * da, luminosity(s) * da), true),
}

/** @param isWhole the three colours are mixed together, and never have factors of their own. */
function combineFloats(mix: Mix, isWhole = false): Combine {
  return (source, factors, destination, byComponent) => {
    // Of these modes pixman has none with factors by component: it leaves what is there.
    if (isWhole && byComponent) return destination
    const all = components(factors)
    const [fa, fr, fg, fb] = factorsOf(all, byComponent, isWhole)
    const [a, r, g, b] = components(source)
    const [da, dr, dg, db] = components(destination)
    const s: Colors = [r * fr, g * fg, b * fb]
    // With factors by component each has an alpha of its own.
    const sa: Colors = isWhole ? [a * fa, a * fa, a * fa] : [a * fr, a * fg, a * fb]
    const d: Colors = [dr, dg, db]
    const mixed = mix(s, sa, d, da)
    const alpha = a * fa + da - a * fa * da
    const color = (n: 0 | 1 | 2) => toByte((1 - sa[n]) * d[n] + (1 - da) * s[n] + mixed[n])
    return ((toByte(alpha) << 24) | (color(0) << 16) | (color(1) << 8) | color(2)) >>> 0
  }
}

function components(pixel: number): Pixel {
  return [(pixel >>> 24) / 255, ((pixel >>> 16) & 0xff) / 255, ((pixel >>> 8) & 0xff) / 255, (pixel & 0xff) / 255]
}

type Pixel = [number, number, number, number]

function factorsOf(factors: Pixel, byComponent: boolean, isWhole: boolean): Pixel {
  const [alpha] = factors
  // Pixman fades green twice and blue not at all in these modes, and so does every SPICE renderer.
  if (isWhole) return [alpha, alpha, alpha * alpha, 1]
  return byComponent ? factors : [alpha, alpha, alpha, alpha]
}

// 256 steps of the same width, and 1 is the last of them.
function toByte(value: number): number {
  const steps = Math.trunc(Math.min(Math.max(value, 0), 1) * 256)
  return steps - (steps >>> 8)
}

function separable(mix: (s: number, sa: number, d: number, da: number) => number): Mix {
  return (s, sa, d, da) => [mix(s[0], sa[0], d[0], da), mix(s[1], sa[1], d[1], da), mix(s[2], sa[2], d[2], da)]
}

function colorDodge(s: number, sa: number, d: number, da: number): number {
  if (d === 0) return 0
  if (d * sa >= sa * da - s * da || sa - s === 0) return sa * da
  return (sa * sa * d) / (sa - s)
}

function colorBurn(s: number, sa: number, d: number, da: number): number {
  if (d >= da) return sa * da
  if (sa * (da - d) >= s * da || s === 0) return 0
  return sa * (da - (sa * (da - d)) / s)
}

function softLight(s: number, sa: number, d: number, da: number): number {
  if (2 * s <= sa) return da === 0 ? d * sa : d * sa - (d * (da - d) * (sa - 2 * s)) / da
  if (da === 0) return 0
  if (4 * d <= da) return d * sa + (2 * s - sa) * d * (((16 * d) / da - 12) * (d / da) + 3)
  return d * sa + (Math.sqrt(d * da) - d) * (2 * s - sa)
}

function times([r, g, b]: Colors, factor: number): Colors {
  return [r * factor, g * factor, b * factor]
}

function luminosity([r, g, b]: Colors): number {
  return r * 0.3 + g * 0.59 + b * 0.11
}

function saturation(color: Colors): number {
  return Math.max(...color) - Math.min(...color)
}

function withSaturation(color: Colors, wanted: number): Colors {
  const least = Math.min(...color)
  const range = Math.max(...color) - least
  if (range === 0) return [0, 0, 0]
  return times([color[0] - least, color[1] - least, color[2] - least], wanted / range)
}

/** The colour made lighter or darker, then moved towards grey until each component fits its alpha. */
function withLuminosity(color: Colors, alpha: number, wanted: number): Colors {
  const more = wanted - luminosity(color)
  let fitted: Colors = [color[0] + more, color[1] + more, color[2] + more]
  const light = luminosity(fitted)
  const least = Math.min(...fitted)
  // Pixman asks both questions of the colour as it was.
  const most = Math.max(...fitted)
  if (least < 0) fitted = light === least ? [0, 0, 0] : towards(fitted, light, light / (light - least))
  if (most > alpha)
    fitted = most === light ? [alpha, alpha, alpha] : towards(fitted, light, (alpha - light) / (most - light))
  return fitted
}

function towards([r, g, b]: Colors, grey: number, factor: number): Colors {
  return [grey + (r - grey) * factor, grey + (g - grey) * factor, grey + (b - grey) * factor]
}
