import { BITMAP_FORMAT, draw, QXL_DRAW, type Area, type Bitmap } from './picture.ts'
import type { QxlDevice } from './qxl-device.ts'
import { QxlOperations, type QxlGlyph, type QxlPathSegment } from './qxl-operations.ts'

/** Size of the screen that the cases draw on. */
export const CASE_SCREEN = { width: 64, height: 48 }

/** One draw operation of which a client must make what the server makes of it. */
export interface DrawCase {
  name: string
  draw(card: QxlDevice): Promise<void>
}

const area = (x: number, y: number, width: number, height: number): Area => ({ x, y, width, height })
/** Where most cases draw, and pictures of that size. */
const BOX = area(9, 11, 21, 17)
const WHOLE = area(0, 0, 21, 17)
const SCREEN = area(0, 0, CASE_SCREEN.width, CASE_SCREEN.height)

/** Numbers below a bound that are the same every time. */
function randoms(seed: number): (bound: number) => number {
  let state = seed
  return (bound) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * bound)
  }
}

function noise(width: number, height: number, seed = 1): Bitmap {
  const random = randoms(seed)
  const bytes = Uint8Array.from({ length: width * height * 4 }, (_, at) => (at % 4 === 3 ? 0 : random(256)))
  return { width, height, format: BITMAP_FORMAT.rgb32, stride: width * 4, bytes }
}

/** Few colours, so that one of them can be left out. */
function stripes(width: number, height: number): Bitmap {
  const bytes = Uint8Array.from({ length: width * height * 4 }, (_, at) =>
    at % 4 === 3 ? 0 : (((at >> 2) % 5) * 50 + (at % 4)) & 0xff,
  )
  return { width, height, format: BITMAP_FORMAT.rgb32, stride: width * 4, bytes }
}

/** Premultiplied, with many pixels of no or full alpha. */
function translucent(width: number, height: number, seed = 2): Bitmap {
  const random = randoms(seed)
  const bytes = new Uint8Array(width * height * 4)
  for (let at = 0; at < bytes.length; at += 4) {
    const alpha = [0, 255, 128, random(256)][random(4)] as number
    bytes.set([random(alpha + 1), random(alpha + 1), random(alpha + 1), alpha], at)
  }
  return { width, height, format: BITMAP_FORMAT.rgba, stride: width * 4, bytes }
}

/** Alpha without colours, a byte a pixel. */
function alphaAlone(width: number, height: number): Bitmap {
  const random = randoms(7)
  const stride = (width + 3) & ~3
  const bytes = Uint8Array.from({ length: stride * height }, () => [0, 255, 128, random(256)][random(4)] as number)
  return { width, height, format: BITMAP_FORMAT.a8, stride, bytes }
}

function bits(width: number, height: number): Bitmap {
  const random = randoms(3)
  const stride = ((width + 31) >> 5) << 2
  const bytes = Uint8Array.from({ length: stride * height }, () => random(256))
  return { width, height, format: BITMAP_FORMAT.bit1Be, stride, bytes }
}

function glyph(x: number, y: number, width: number, height: number, bitsPerPixel: number): QxlGlyph {
  const random = randoms(x + y)
  const length = ((width * bitsPerPixel + 7) >> 3) * height
  return { x, y, width, height, bytes: Uint8Array.from({ length }, () => random(256)) }
}

function path(points: readonly (readonly [number, number])[], flags = 3): QxlPathSegment {
  return { flags, points: points.map(([x, y]) => [x * 16, y * 16] as const) }
}

/** Lines from the middle in all directions. */
function star(outwards: boolean): QxlPathSegment[] {
  return Array.from({ length: 24 }, (_, index) => {
    const angle = (index * Math.PI) / 12
    const end = [32 + Math.round(23 * Math.cos(angle)), 24 + Math.round(21 * Math.sin(angle))] as const
    return path(outwards ? [[32, 24], end] : [end, [32, 24]])
  })
}

type Part = (operations: QxlOperations) => Promise<Uint8Array> | Uint8Array

function one(name: string, type: keyof typeof QXL_DRAW, part: Part, box = BOX, clip?: readonly Area[]): DrawCase {
  return {
    name,
    draw: async (card) => await draw(card, QXL_DRAW[type], box, await part(new QxlOperations(card)), clip),
  }
}

/** `SPICE_ROPD_*` combinations that mean something different each. */
const ROPS = [8, 9, 12, 16, 17, 20, 21, 32, 33, 36, 37, 64, 65, 128, 256, 512, 8 | 1024, 16 | 1024, 64 | 1024, 0]
const BRUSH_ROPS = [8, 10, 12, 16, 18, 20, 22, 32, 34, 36, 38, 64, 66, 128, 256, 512, 8 | 1024, 16 | 1024]
/** Ternary operations of which no operand can be left out: spice-server aborts on others. */
const ROP3S = [0xb8, 0xe2, 0x96, 0x17, 0xca, 0x69, 0x01, 0x35, 0x8e]
const SIZES = [area(3, 5, 50, 40), area(9, 11, 10, 8), area(9, 11, 15, 31), area(2, 20, 55, 5)]
const OPERATORS = [
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a,
]
const HSL_OPERATORS = [0x3b, 0x3c, 0x3d, 0x3e]
const BY_COMPONENT = 1 << 18
const SKEWED = [50000, 9000, 100000, -7000, 61000, 200000]

function rasterCases(): DrawCase[] {
  const pattern = { picture: noise(7, 5), x: 3, y: 4 }
  return [
    ...ROPS.map((rop) => one(`copy, rop ${rop}`, 'copy', (make) => make.copy(noise(21, 17), WHOLE, rop))),
    ...ROPS.slice(0, 4).map((rop) => one(`blend, rop ${rop}`, 'blend', (make) => make.copy(noise(21, 17), WHOLE, rop))),
    ...BRUSH_ROPS.map((rop) => one(`fill, rop ${rop}`, 'fill', (make) => make.fill(0x345678, rop))),
    ...[8, 64].map((rop) => one(`fill with a pattern, rop ${rop}`, 'fill', (make) => make.fill(pattern, rop))),
    ...[8, 9, 10, 16, 32, 64, 66, 65, 512, 1024 | 16].map((rop) =>
      one(`opaque, rop ${rop}`, 'opaque', (make) => make.opaque(noise(21, 17), WHOLE, 0x112233, rop)),
    ),
    one('opaque with a pattern', 'opaque', (make) => make.opaque(noise(21, 17), WHOLE, pattern, 64)),
    ...(['blackness', 'whiteness', 'invers'] as const).flatMap((type) => [
      one(type, type, (make) => make.masked()),
      one(`${type}, masked`, type, (make) => make.masked({ bitmap: bits(21, 17) })),
      one(`${type}, mask inverted`, type, (make) => make.masked({ bitmap: bits(30, 25), invers: true, x: 4, y: 3 })),
    ]),
    one('copy of a part', 'copy', (make) => make.copy(noise(21, 17), area(5, 6, 9, 8), 8), area(30, 30, 9, 8)),
    one('copy, clipped', 'copy', (make) => make.copy(noise(21, 17), WHOLE, 8), BOX, [
      area(10, 12, 5, 4),
      area(18, 12, 5, 4),
      area(10, 20, 50, 3),
    ]),
    one('xor, clips overlap', 'copy', (make) => make.copy(noise(21, 17), WHOLE, 64), BOX, [
      area(12, 14, 9, 9),
      area(10, 12, 6, 6),
    ]),
    one(
      'copy, masked and clipped',
      'copy',
      (make) => make.copy(noise(21, 17), WHOLE, 8, 0, { bitmap: bits(21, 17) }),
      BOX,
      [area(0, 0, 20, 40)],
    ),
    one('copyBits upwards', 'copyBits', (make) => make.copyBits(5, 20), area(9, 11, 40, 25)),
    one('copyBits downwards', 'copyBits', (make) => make.copyBits(5, 5), area(9, 11, 40, 25)),
    one('copyBits sideways', 'copyBits', (make) => make.copyBits(5, 11), area(9, 11, 40, 25)),
    one('copyBits, clipped', 'copyBits', (make) => make.copyBits(12, 20), area(9, 11, 40, 25), [
      area(12, 13, 9, 9),
      area(30, 15, 15, 8),
    ]),
    one('transparent', 'transparent', (make) => make.transparent(stripes(21, 17), WHOLE, 0x343332)),
    one('transparent, scaled', 'transparent', (make) => make.transparent(stripes(21, 17), WHOLE, 0x343332), SIZES[0]),
    ...ROP3S.map((rop) => one(`rop3 ${rop}`, 'rop3', (make) => make.rop3(noise(21, 17), WHOLE, 0x9a5b3c, rop))),
    one('rop3 with a pattern, masked', 'rop3', (make) =>
      make.rop3(noise(21, 17), WHOLE, pattern, 0xca, { bitmap: bits(21, 17) }),
    ),
  ]
}

function scaledCases(): DrawCase[] {
  const part = area(4, 3, 11, 9)
  return [0, 1].flatMap((mode) => {
    const how = mode === 0 ? 'smooth' : 'nearest'
    return [
      ...SIZES.map((box) =>
        one(
          `copy to ${box.width}×${box.height}, ${how}`,
          'copy',
          (make) => make.copy(noise(21, 17), WHOLE, 8, mode),
          box,
        ),
      ),
      one(`xor of a part, scaled, ${how}`, 'copy', (make) => make.copy(noise(21, 17), part, 64, mode), SIZES[0], [
        area(10, 10, 30, 25),
      ]),
      one(`opaque, scaled, ${how}`, 'opaque', (make) => make.opaque(noise(21, 17), part, 0x112233, 64, mode), SIZES[0]),
      one(
        `rop3, scaled, ${how}`,
        'rop3',
        (make) => make.rop3(noise(21, 17), part, 0xffffff, 0xca, undefined, mode),
        SIZES[0],
      ),
    ]
  })
}

function blendCases(): DrawCase[] {
  return [255, 128, 1].flatMap((alpha) => [
    one(`alpha ${alpha}, opaque`, 'alphaBlend', (make) => make.alphaBlend(noise(21, 17), WHOLE, alpha)),
    one(`alpha ${alpha}, translucent`, 'alphaBlend', (make) => make.alphaBlend(translucent(21, 17), WHOLE, alpha)),
    one(`alpha ${alpha}, of alpha alone`, 'alphaBlend', (make) => make.alphaBlend(alphaAlone(21, 17), WHOLE, alpha)),
    one(`alpha ${alpha}, scaled`, 'alphaBlend', (make) => make.alphaBlend(translucent(21, 17), WHOLE, alpha), SIZES[0]),
  ])
}

function textCases(): DrawCase[] {
  const back = { backArea: area(10, 12, 30, 20), backBrush: 0x203040 }
  return [
    ...(
      [
        [1, 1],
        [4, 2],
      ] as const
    ).flatMap(([depth, flags]) => {
      const glyphs = [glyph(10, 12, 9, 13, depth), glyph(22, 20, 8, 12, depth), glyph(27, 15, 16, 9, depth)]
      return [
        one(`text of ${depth} bits`, 'text', (make) => make.text(glyphs, flags, 0xff8000), SCREEN),
        one(
          `text of ${depth} bits, said to come from the top`,
          'text',
          (make) => make.text(glyphs, flags | 8, 0xff8000),
          SCREEN,
        ),
        one(`text of ${depth} bits on a ground`, 'text', (make) => make.text(glyphs, flags, 0xff8000, back), SCREEN, [
          area(13, 0, 20, 40),
        ]),
      ]
    }),
    one(
      'text over the edges',
      'text',
      (make) => make.text([glyph(-4, -5, 16, 16, 1), glyph(55, 40, 16, 16, 1)], 1, 0xff8000),
      SCREEN,
    ),
    one(
      'text in a pattern',
      'text',
      (make) => make.text([glyph(12, 14, 16, 16, 1)], 1, { picture: noise(5, 6), x: 1, y: 2 }),
      SCREEN,
    ),
  ]
}

/** Bézier curves: a beginning, then three points for each. */
function curves(points: readonly (readonly [number, number])[]): QxlPathSegment[] {
  return [path(points.slice(0, 1), 1), path(points.slice(1), 16 | 2)]
}

const CURVE = [
  [3, 3],
  [40, 3],
  [60, 20],
  [60, 45],
] as const
const FAR = [
  [-100, -200],
  [300, 400],
  [-50, 9],
] as const
/** Lengths of dashes and gaps, in sixteenths of a pixel. */
const DASHES = [[64, 32], [16, 16], [80, 48, 16, 48], [48]]

function strokeCases(): DrawCase[] {
  const corners = [
    [5, 5],
    [50, 12],
    [40, 40],
    [9, 33],
  ] as const
  return [
    one('lines outwards', 'stroke', (make) => make.stroke(star(true), 0xffffff, 8), SCREEN),
    one('lines inwards', 'stroke', (make) => make.stroke(star(false), 0xffffff, 8), SCREEN),
    one(
      'lines in a pattern, clipped',
      'stroke',
      (make) => make.stroke(star(true), { picture: noise(5, 6), x: 1, y: 2 }, 8),
      SCREEN,
      [area(20, 20, 10, 10), area(33, 20, 10, 20)],
    ),
    one('a polyline, xor', 'stroke', (make) => make.stroke([path(corners)], 0xffffff, 64), SCREEN),
    one('a polygon, xor', 'stroke', (make) => make.stroke([path(corners, 11)], 0xffffff, 64), SCREEN),
    one('a curve', 'stroke', (make) => make.stroke(curves(CURVE), 0xffffff, 8), SCREEN),
    one(
      'curves, xor',
      'stroke',
      (make) =>
        make.stroke(
          curves([
            [3, 45],
            [9, 1],
            [50, 3],
            [40, 30],
            [35, 44],
            [20, 40],
            [55, 2],
          ]),
          0xffffff,
          64,
        ),
      SCREEN,
    ),
    one(
      'a point',
      'stroke',
      (make) =>
        make.stroke(
          [
            path([
              [9, 9],
              [9, 9],
            ]),
          ],
          0xffffff,
          8,
        ),
      SCREEN,
    ),
    one('lines from beyond the edges', 'stroke', (make) => make.stroke([path(FAR)], 0xffffff, 64), SCREEN),
    one(
      'fractions of pixels',
      'stroke',
      (make) =>
        make.stroke(
          [
            {
              flags: 3,
              points: [
                [167, 168],
                [809, 327],
                [168, 700],
              ],
            },
          ],
          0xffffff,
          64,
        ),
      SCREEN,
    ),
    ...DASHES.flatMap((style) =>
      [false, true].flatMap((startWithGap) => {
        const how = `dashes of ${style.join(' ')}${startWithGap ? ', gap first' : ''}`
        const dashes = (name: string, segments: readonly QxlPathSegment[], rop = 8) =>
          one(
            `${how}, ${name}`,
            'stroke',
            (make) => make.stroke(segments, 0xffffff, rop, { style, startWithGap }),
            SCREEN,
          )
        return [
          dashes('around corners', [path(corners)]),
          dashes('around corners, xor', [path(corners)], 64),
          dashes('around a polygon', [path(corners, 11)]),
          dashes('outwards', star(true)),
          dashes('inwards', star(false)),
          dashes('along a curve', curves(CURVE)),
        ]
      }),
    ),
    one(
      'dashes from beyond the edges',
      'stroke',
      (make) => make.stroke([path(FAR)], 0xffffff, 64, { style: [80, 48, 16, 48] }),
      SCREEN,
    ),
    one(
      'dashes of a point',
      'stroke',
      (make) => make.stroke([path([corners[0], corners[0]])], 0xffffff, 8, { style: [64, 32] }),
      SCREEN,
    ),
  ]
}

function compositeCases(): DrawCase[] {
  const picture = translucent(21, 17)
  const mask = translucent(21, 17, 5)
  const small = translucent(11, 8)
  return [
    ...[...OPERATORS, ...HSL_OPERATORS].map((operator) =>
      one(`composite ${operator}`, 'composite', (make) => make.composite(operator, picture)),
    ),
    ...[...OPERATORS, ...HSL_OPERATORS].flatMap((operator) => [
      one(`composite ${operator}, masked`, 'composite', (make) => make.composite(operator, picture, { mask })),
      one(`composite ${operator}, masked by component`, 'composite', (make) =>
        make.composite(operator | BY_COMPONENT, picture, { mask }),
      ),
    ]),
    ...[1, 3, 8, 0x3e].flatMap((operator) => [
      one(`composite ${operator}, masked by alpha alone`, 'composite', (make) =>
        make.composite(operator, picture, { mask: alphaAlone(21, 17) }),
      ),
      one(`composite ${operator} of alpha alone`, 'composite', (make) => make.composite(operator, alphaAlone(21, 17))),
    ]),
    one('composite of an opaque picture', 'composite', (make) => make.composite(3, noise(21, 17))),
    one('composite from other places', 'composite', (make) =>
      make.composite(3, picture, { mask, origin: [-4, 5], maskOrigin: [3, -2] }),
    ),
    ...[0, 1, 2, 3].flatMap((repeat) => [
      ...[0, 4].map((filter) =>
        one(`composite skewed, repeat ${repeat}, filter ${filter}`, 'composite', (make) =>
          make.composite(3 | (filter << 8) | (repeat << 14), small, { transform: SKEWED }),
        ),
      ),
      one(`composite, mask skewed, repeat ${repeat}`, 'composite', (make) =>
        make.composite(3 | (4 << 11) | (repeat << 16), picture, { mask: small, maskTransform: SKEWED }),
      ),
    ]),
  ]
}

/** Every draw operation of QXL. What no guest's driver sends, and spice-server cannot draw, is not among them. */
export function drawCases(): DrawCase[] {
  return [...rasterCases(), ...scaledCases(), ...blendCases(), ...textCases(), ...strokeCases(), ...compositeCases()]
}
