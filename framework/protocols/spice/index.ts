/**
 * A SPICE client: link, authentication, sessions, channels. It needs nothing of Node: byte streams are handed in as
 * carriers, so that it runs in a browser too.
 */
export { Secret } from '../../core/secret.ts'
export { SpiceConnectionManager } from './connection-manager.ts'
export { SpiceVmConnection } from './vm-connection.ts'
export type { ChannelClasses, OpenChannelOptions, SpiceConnectionOptions } from './vm-connection.ts'
export { CursorState, drawCursor } from './display/cursor.ts'
export { showCursor } from './display/live-cursor.ts'
export { DisplayPicture, type DisplayPictureOptions } from './display-picture.ts'
export type { ImageDecoder, ImageJob, ImageJobResult } from './codec/image-job.ts'
export { measureDisplay, type DisplayFigures, type MeasureOptions } from './display-figures.ts'
export { SpiceChannel } from './channel.ts'
export type { ChannelState, ChannelStateEvent, ChannelStatistics, SpiceMessage } from './channel.ts'
export type { ChannelId, SpiceCarrier, SpiceServer } from './link-channel.ts'
export type { SpiceCredentials } from './authenticate.ts'
export type { MainChannel, MainInit, MouseMode } from './channels/main.ts'
export type { InputsChannel, KeyboardModifier, SpiceInputOptions, SpiceMouseButton } from './channels/inputs.ts'
export type { DisplayChannel, DisplayChannelOptions } from './channels/display.ts'
export type { DataChannel, PortChannel, PortEvent } from './channels/data.ts'
export type {
  PlaybackChannel,
  PlaybackEvents,
  RecordChannel,
  RecordEvents,
  SoundFormat,
  SoundMode,
} from './channels/sound.ts'
export { parseSpiceUri, type SpiceAddress } from './uri.ts'
export { setTicket, type SetTicketOptions } from './set-ticket.ts'
export { webSocketCarrier } from './websocket.ts'
export type { ChannelName } from './wire/numbers.ts'
export * from './report/index.ts'
export * from './smartcard/index.ts'
export * from './sound/index.ts'
export * from './usb/index.ts'
export * from './agent/index.ts'
export * from './folder/index.ts'
export * from './port/index.ts'
