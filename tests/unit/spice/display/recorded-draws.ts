import { readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'

/** A draw as spice-server 0.15.1 sent it, and what its screen held afterwards. */
export interface RecordedDraw {
  name: string
  /** `SPICE_MSG_DISPLAY_*` */
  type: number
  /** Base64. */
  body: string
  /** Of the whole screen: `0xFFRRGGBB` in little-endian words. */
  sha256: string
}

/** Written by the contract test of draw operations with `UPDATE_RECORDED=1`; each draws on what those before left. */
export const RECORDED_DRAWS = new URL('../recorded/display/draws.json.gz', import.meta.url)

export function recordedDraws(): RecordedDraw[] {
  return JSON.parse(gunzipSync(readFileSync(RECORDED_DRAWS)).toString('utf8')) as RecordedDraw[]
}
