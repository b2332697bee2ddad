/** Numbers of the guest agent's protocol (spice-protocol's `vd_agent.h`), named after what they mean. */

/** `VD_AGENT_PROTOCOL` */
export const AGENT_PROTOCOL = 1

/** `VD_AGENT_*`: types of messages, in both directions. */
export const AGENT_MESSAGE = {
  mouseState: 1,
  monitorsConfig: 2,
  reply: 3,
  clipboard: 4,
  displayConfig: 5,
  announceCapabilities: 6,
  clipboardGrab: 7,
  clipboardRequest: 8,
  clipboardRelease: 9,
  fileXferStart: 10,
  fileXferStatus: 11,
  fileXferData: 12,
  clientDisconnected: 13,
  maxClipboard: 14,
  audioVolumeSync: 15,
  graphicsDeviceInfo: 16,
} as const

/** Bits of `VD_AGENT_CAP_*`. */
export const AGENT_CAP = {
  mouseState: 0,
  monitorsConfig: 1,
  reply: 2,
  clipboard: 3,
  displayConfig: 4,
  clipboardByDemand: 5,
  clipboardSelection: 6,
  sparseMonitorsConfig: 7,
  guestLineendLf: 8,
  guestLineendCrlf: 9,
  maxClipboard: 10,
  audioVolumeSync: 11,
  monitorsConfigPosition: 12,
  fileXferDisabled: 13,
  fileXferDetailedErrors: 14,
  graphicsDeviceInfo: 15,
  clipboardNoReleaseOnRegrab: 16,
  clipboardGrabSerial: 17,
} as const
/** Name of something an agent says it can do. */
export type AgentCapability = keyof typeof AGENT_CAP

/** `VD_AGENT_CLIPBOARD_*`: what a clipboard holds. */
export const CLIPBOARD_TYPE = { none: 0, utf8Text: 1, png: 2, bmp: 3, tiff: 4, jpg: 5, fileList: 6 } as const

/** `VD_AGENT_CLIPBOARD_SELECTION_*`: which clipboard; X11 has several. */
export const CLIPBOARD_SELECTION = { clipboard: 0, primary: 1, secondary: 2 } as const

/** `VD_AGENT_FILE_XFER_STATUS_*` */
export const FILE_STATUS = {
  canSendData: 0,
  cancelled: 1,
  error: 2,
  success: 3,
  notEnoughSpace: 4,
  sessionLocked: 5,
  agentNotConnected: 6,
  disabled: 7,
} as const

/** `VD_AGENT_CONFIG_MONITORS_FLAG_USE_POS` */
export const MONITORS_USE_POSITION = 1

/** `VD_AGENT_DISPLAY_CONFIG_FLAG_*` */
export const DISPLAY_CONFIG = {
  disableWallpaper: 1,
  disableFontSmooth: 2,
  disableAnimation: 4,
  setColorDepth: 8,
} as const

/** `VD_AGENT_SUCCESS` of a reply. */
export const REPLY_SUCCESS = 1
