/** Numbers of the SPICE protocol (spice-protocol's `enums.h` and `protocol.h`), named after what they mean. */

/** `REDQ`, the first four bytes of every link message, as a little-endian u32. */
export const MAGIC = 0x51444552
export const VERSION_MAJOR = 2
export const VERSION_MINOR = 2

/** `SPICE_CHANNEL_*` */
export const CHANNEL = {
  main: 1,
  display: 2,
  inputs: 3,
  cursor: 4,
  playback: 5,
  record: 6,
  smartcard: 8,
  usbredir: 9,
  port: 10,
  webdav: 11,
} as const
/** Name of a channel type. */
export type ChannelName = keyof typeof CHANNEL

/** The type with this number, if this client knows it. */
export function channelNameOf(number: number): ChannelName | undefined {
  return (Object.keys(CHANNEL) as ChannelName[]).find((name) => CHANNEL[name] === number)
}

/** `SPICE_LINK_ERR_*` */
export const LINK_ERROR = {
  ok: 0,
  error: 1,
  invalidMagic: 2,
  invalidData: 3,
  versionMismatch: 4,
  needSecured: 5,
  needUnsecured: 6,
  permissionDenied: 7,
  badConnectionId: 8,
  channelNotAvailable: 9,
} as const

/** `SPICE_COMMON_CAP_AUTH_*` as mechanism numbers. */
export const AUTH = { ticket: 1, sasl: 2 } as const

/** Bits of `SPICE_COMMON_CAP_*`. */
export const COMMON_CAP = { authSelection: 0, authSpice: 1, authSasl: 2, miniHeader: 3 } as const
/** Bits of `SPICE_MAIN_CAP_*`. */
export const MAIN_CAP = { semiSeamlessMigrate: 0, nameAndUuid: 1, agentConnectedTokens: 2, seamlessMigrate: 3 } as const
/** Bits of `SPICE_DISPLAY_CAP_*`. */
export const DISPLAY_CAP = {
  sizedStream: 0,
  monitorsConfig: 1,
  composite: 2,
  a8Surface: 3,
  streamReport: 4,
  lz4: 5,
  preferredCompression: 6,
  glScanout: 7,
  multiCodec: 8,
  codecMjpeg: 9,
  codecVp8: 10,
  codecH264: 11,
  preferredVideoCodec: 12,
  codecVp9: 13,
  codecH265: 14,
} as const
/** Bits of `SPICE_INPUTS_CAP_*`. */
export const INPUTS_CAP = { keyScancode: 0 } as const
/** Bits of `SPICE_PLAYBACK_CAP_*`. */
export const PLAYBACK_CAP = { celt: 0, volume: 1, latency: 2, opus: 3 } as const
/** Bits of `SPICE_RECORD_CAP_*`. */
export const RECORD_CAP = { celt: 0, volume: 1, opus: 2 } as const

/** `SPICE_MSG_*`: what a server may send on every channel. */
export const BASE_SERVER = {
  migrate: 1,
  migrateData: 2,
  setAck: 3,
  ping: 4,
  waitForChannels: 5,
  disconnecting: 6,
  notify: 7,
  list: 8,
} as const
/** `SPICE_MSGC_*`: what a client may send on every channel. */
export const BASE_CLIENT = {
  ackSync: 1,
  ack: 2,
  pong: 3,
  migrateFlushMark: 4,
  migrateData: 5,
  disconnecting: 6,
} as const

/** `SPICE_MSG_MAIN_*` */
export const MAIN_SERVER = {
  migrateBegin: 101,
  migrateCancel: 102,
  init: 103,
  channelsList: 104,
  mouseMode: 105,
  multiMediaTime: 106,
  agentConnected: 107,
  agentDisconnected: 108,
  agentData: 109,
  agentToken: 110,
  migrateSwitchHost: 111,
  migrateEnd: 112,
  name: 113,
  uuid: 114,
  agentConnectedTokens: 115,
  migrateBeginSeamless: 116,
  migrateDstSeamlessAck: 117,
  migrateDstSeamlessNack: 118,
} as const
/** `SPICE_MSGC_MAIN_*` */
export const MAIN_CLIENT = {
  clientInfo: 101,
  migrateConnected: 102,
  migrateConnectError: 103,
  attachChannels: 104,
  mouseModeRequest: 105,
  agentStart: 106,
  agentData: 107,
  agentToken: 108,
} as const

/** `SPICE_MOUSE_MODE_*`: who draws and moves the pointer. */
export const MOUSE_MODE = { server: 1, client: 2 } as const

/** `SPICE_MSG_INPUTS_*` */
export const INPUTS_SERVER = { init: 101, keyModifiers: 102, mouseMotionAck: 111 } as const
/** `SPICE_MSGC_INPUTS_*` */
export const INPUTS_CLIENT = {
  keyDown: 101,
  keyUp: 102,
  keyModifiers: 103,
  keyScancode: 104,
  mouseMotion: 111,
  mousePosition: 112,
  mousePress: 113,
  mouseRelease: 114,
} as const
/** `SPICE_MOUSE_BUTTON_*` */
export const MOUSE_BUTTON = { left: 1, middle: 2, right: 3, wheelUp: 4, wheelDown: 5, side: 6, extra: 7 } as const
/** `SPICE_KEYBOARD_MODIFIER_FLAGS_*` as bits. */
export const KEYBOARD_MODIFIER = { scrollLock: 1, numLock: 2, capsLock: 4 } as const

/** `SPICE_MSG_DISPLAY_*` */
export const DISPLAY_SERVER = {
  mode: 101,
  mark: 102,
  reset: 103,
  copyBits: 104,
  invalList: 105,
  invalAllPixmaps: 106,
  invalPalette: 107,
  invalAllPalettes: 108,
  streamCreate: 122,
  streamData: 123,
  streamClip: 124,
  streamDestroy: 125,
  streamDestroyAll: 126,
  drawFill: 302,
  drawOpaque: 303,
  drawCopy: 304,
  drawBlend: 305,
  drawBlackness: 306,
  drawWhiteness: 307,
  drawInvers: 308,
  drawRop3: 309,
  drawStroke: 310,
  drawText: 311,
  drawTransparent: 312,
  drawAlphaBlend: 313,
  surfaceCreate: 314,
  surfaceDestroy: 315,
  streamDataSized: 316,
  monitorsConfig: 317,
  drawComposite: 318,
  streamActivateReport: 319,
  glScanoutUnix: 320,
  glDraw: 321,
} as const
/** `SPICE_MSGC_DISPLAY_*` */
export const DISPLAY_CLIENT = {
  init: 101,
  streamReport: 102,
  preferredCompression: 103,
  glDrawDone: 104,
  preferredVideoCodecType: 105,
} as const
/** `SPICE_IMAGE_TYPE_*` */
export const IMAGE_TYPE = {
  bitmap: 0,
  quic: 1,
  lzPlt: 100,
  lzRgb: 101,
  glzRgb: 102,
  fromCache: 103,
  surface: 104,
  jpeg: 105,
  fromCacheLossless: 106,
  zlibGlzRgb: 107,
  jpegAlpha: 108,
  lz4: 109,
} as const
/** `SPICE_IMAGE_COMPRESSION_*` */
export const IMAGE_COMPRESSION = { off: 1, autoGlz: 2, autoLz: 3, quic: 4, glz: 5, lz: 6, lz4: 7 } as const

/** `SPICE_MSG_CURSOR_*` */
export const CURSOR_SERVER = {
  init: 101,
  reset: 102,
  set: 103,
  move: 104,
  hide: 105,
  trail: 106,
  invalOne: 107,
  invalAll: 108,
} as const

/** `SPICE_MSG_PLAYBACK_*` */
export const PLAYBACK_SERVER = {
  data: 101,
  mode: 102,
  start: 103,
  stop: 104,
  volume: 105,
  mute: 106,
  latency: 107,
} as const
/** `SPICE_MSG_RECORD_*` */
export const RECORD_SERVER = { start: 101, stop: 102, volume: 103, mute: 104 } as const
/** `SPICE_MSGC_RECORD_*` */
export const RECORD_CLIENT = { data: 101, mode: 102, startMark: 103 } as const
/** `SPICE_AUDIO_DATA_MODE_*` */
export const AUDIO_MODE = { raw: 1, celt: 2, opus: 3 } as const

/** `SPICE_MSG_SPICEVMC_*`, in both directions; of usbredir, webdav, smartcard and port channels. */
export const SPICEVMC = { data: 101, compressedData: 102 } as const
/** `SPICE_MSG_PORT_*` */
export const PORT_SERVER = { init: 201, event: 202 } as const
/** `SPICE_MSGC_PORT_*` */
export const PORT_CLIENT = { event: 201 } as const
/** `SPICE_PORT_EVENT_*` */
export const PORT_EVENT = { opened: 0, closed: 1, break: 2 } as const

/** Words that carry these capability bits. */
export function capabilityWords(bits: readonly number[]): number[] {
  const words: number[] = []
  for (const bit of bits) {
    const word = bit >>> 5
    while (words.length <= word) words.push(0)
    words[word] = ((words[word] as number) | (1 << (bit & 31))) >>> 0
  }
  return words
}

/** Whether a peer's capability words carry a bit. */
export function hasCapability(words: readonly number[], bit: number): boolean {
  return (((words[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) === 1
}
