import type { CallOptions } from '../core/index.ts'

/** Pixels row by row from the top, each 0xAARRGGBB; a screen has no transparency, so AA is ignored. */
export interface Picture {
  readonly width: number
  readonly height: number
  readonly data: Uint32Array
}

/** Part of a picture, in pixels from the left and the top. */
export interface Region {
  x: number
  y: number
  width: number
  height: number
}

/** Where the pictures of one screen come from. */
export interface PictureSource {
  /** Whose screen it is, for messages. */
  readonly name: string
  /** `libvirt`: the hypervisor draws it. `spice`: what a client of the desktop sees. */
  readonly via: 'libvirt' | 'spice'
  /** The screen as it is now. */
  picture(options: CallOptions): Promise<Picture>
  /** Resolves when the screen may have changed. Without it the screen is looked at again and again. */
  changed?(options: CallOptions): Promise<void>
}

/** Which pixels are compared, and how much may differ. */
export interface CompareOptions {
  /** Only this part of the screen. */
  region?: Region
  /** Parts that are not compared: clocks, cursors. In pixels of the whole screen. */
  masks?: readonly Region[]
  /** How different two colours may be, 0 (not at all) to 1. Default 0. */
  tolerance?: number
  /** How many pixels may differ. Default 0. */
  maxPixels?: number
}

export interface StableOptions extends CompareOptions, CallOptions {
  /** How long nothing may have changed, milliseconds. Default 500. */
  forMs?: number
}

export interface ChangeOptions extends CompareOptions, CallOptions {
  /** Changed against this picture of the whole screen. Default: the screen at the time of the call. */
  since?: Picture
}

export interface TextOptions extends CallOptions {
  /** Only this part of the screen; a crop around the text is read best. */
  region?: Region
  /** Languages of Tesseract. Default `['eng']`. */
  languages?: readonly string[]
}

/** What may be on the screen: all that is said must hold. */
export interface ScreenState<N extends string = string> extends CompareOptions, Pick<TextOptions, 'languages'> {
  name: N
  /** The region, or the whole screen, looks like this picture. */
  image?: Picture
  /** The region, or the whole screen, shows this text. */
  text?: string | RegExp
  /** Anything else. */
  when?(picture: Picture): boolean | Promise<boolean>
}

/** The screen of a VM. */
export interface Screen {
  readonly name: string
  readonly via: PictureSource['via']
  /** The pixels as they are now. */
  picture(options?: CallOptions): Promise<Picture>
  /** PNG of the screen or a part of it. */
  screenshot(options?: CallOptions & { region?: Region }): Promise<{ contentType: string; bytes: Uint8Array }>
  /** Resolves to the picture that nothing changed in for a while. @throws `ATP_SCREEN_UNSTABLE` (default limit 10 s). */
  waitForStable(options?: StableOptions): Promise<Picture>
  /** Resolves to the first picture that differs. @throws `ATP_SCREEN_UNCHANGED` (default limit 10 s). */
  waitForChange(options?: ChangeOptions): Promise<Picture>
  /** Resolves when the screen has this size, pixels. @throws `ATP_SCREEN_SIZE` (default limit 10 s). */
  waitForSize(size: { width: number; height: number }, options?: CallOptions): Promise<Picture>
  /**
   * Waits until one of several states is there and resolves to its name; of two that hold at once, the earlier one. For
   * dialogs that may or may not come.
   *
   * @throws `ATP_SCREEN_NONE` with what was seen (default limit 30 s).
   */
  first<N extends string>(states: readonly ScreenState<N>[], options?: CallOptions): Promise<N>
  /** The text on the screen, read by Tesseract. @throws `ATP_SCREEN_OCR` when that is not installed. */
  text(options?: TextOptions): Promise<string>
}
