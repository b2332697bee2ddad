/**
 * The one table of keys. Sender, observers and messages all take a key's identity from here.
 *
 * Names: `QKeyCode` of QEMU 7.2's QAPI schema (ui.json); `KEY_*` of Linux input-event-codes.h; set-1 make codes
 * of the AT keyboard; `KeyboardEvent.code` of the W3C "UI Events KeyboardEvent code Values".
 */

/** One physical key. */
export interface Key {
  /** QMP `QKeyCode`: the key's identity throughout the framework. */
  readonly qcode: string
  /** What a Linux guest's evdev reports. */
  readonly evdev: { readonly name: string; readonly code: number }
  /** Set-1 make code; `0xe0XX` for keys with the e0 prefix. */
  readonly scancode: number
  /** `KeyboardEvent.code`, where the standard has one. */
  readonly code: string | undefined
  /**
   * Whether QEMU's PS/2 and USB keyboards deliver it: what they have no code for they drop without a word, or
   * report as another key. Virtio keyboards deliver all.
   */
  readonly ps2: boolean
  readonly usb: boolean
}

type Row = readonly [qcode: string, evdevName: string, evdevCode: number, scancode: number, code?: string]

// prettier-ignore
const ROWS: readonly Row[] = [
  ['shift', 'KEY_LEFTSHIFT', 42, 0x2a, 'ShiftLeft'],
  ['shift_r', 'KEY_RIGHTSHIFT', 54, 0x36, 'ShiftRight'],
  ['alt', 'KEY_LEFTALT', 56, 0x38, 'AltLeft'],
  ['alt_r', 'KEY_RIGHTALT', 100, 0xe038, 'AltRight'],
  ['ctrl', 'KEY_LEFTCTRL', 29, 0x1d, 'ControlLeft'],
  ['ctrl_r', 'KEY_RIGHTCTRL', 97, 0xe01d, 'ControlRight'],
  ['menu', 'KEY_MENU', 139, 0xe01e],
  ['esc', 'KEY_ESC', 1, 0x01, 'Escape'],
  ['1', 'KEY_1', 2, 0x02, 'Digit1'],
  ['2', 'KEY_2', 3, 0x03, 'Digit2'],
  ['3', 'KEY_3', 4, 0x04, 'Digit3'],
  ['4', 'KEY_4', 5, 0x05, 'Digit4'],
  ['5', 'KEY_5', 6, 0x06, 'Digit5'],
  ['6', 'KEY_6', 7, 0x07, 'Digit6'],
  ['7', 'KEY_7', 8, 0x08, 'Digit7'],
  ['8', 'KEY_8', 9, 0x09, 'Digit8'],
  ['9', 'KEY_9', 10, 0x0a, 'Digit9'],
  ['0', 'KEY_0', 11, 0x0b, 'Digit0'],
  ['minus', 'KEY_MINUS', 12, 0x0c, 'Minus'],
  ['equal', 'KEY_EQUAL', 13, 0x0d, 'Equal'],
  ['backspace', 'KEY_BACKSPACE', 14, 0x0e, 'Backspace'],
  ['tab', 'KEY_TAB', 15, 0x0f, 'Tab'],
  ['q', 'KEY_Q', 16, 0x10, 'KeyQ'],
  ['w', 'KEY_W', 17, 0x11, 'KeyW'],
  ['e', 'KEY_E', 18, 0x12, 'KeyE'],
  ['r', 'KEY_R', 19, 0x13, 'KeyR'],
  ['t', 'KEY_T', 20, 0x14, 'KeyT'],
  ['y', 'KEY_Y', 21, 0x15, 'KeyY'],
  ['u', 'KEY_U', 22, 0x16, 'KeyU'],
  ['i', 'KEY_I', 23, 0x17, 'KeyI'],
  ['o', 'KEY_O', 24, 0x18, 'KeyO'],
  ['p', 'KEY_P', 25, 0x19, 'KeyP'],
  ['bracket_left', 'KEY_LEFTBRACE', 26, 0x1a, 'BracketLeft'],
  ['bracket_right', 'KEY_RIGHTBRACE', 27, 0x1b, 'BracketRight'],
  ['ret', 'KEY_ENTER', 28, 0x1c, 'Enter'],
  ['a', 'KEY_A', 30, 0x1e, 'KeyA'],
  ['s', 'KEY_S', 31, 0x1f, 'KeyS'],
  ['d', 'KEY_D', 32, 0x20, 'KeyD'],
  ['f', 'KEY_F', 33, 0x21, 'KeyF'],
  ['g', 'KEY_G', 34, 0x22, 'KeyG'],
  ['h', 'KEY_H', 35, 0x23, 'KeyH'],
  ['j', 'KEY_J', 36, 0x24, 'KeyJ'],
  ['k', 'KEY_K', 37, 0x25, 'KeyK'],
  ['l', 'KEY_L', 38, 0x26, 'KeyL'],
  ['semicolon', 'KEY_SEMICOLON', 39, 0x27, 'Semicolon'],
  ['apostrophe', 'KEY_APOSTROPHE', 40, 0x28, 'Quote'],
  ['grave_accent', 'KEY_GRAVE', 41, 0x29, 'Backquote'],
  ['backslash', 'KEY_BACKSLASH', 43, 0x2b, 'Backslash'],
  ['z', 'KEY_Z', 44, 0x2c, 'KeyZ'],
  ['x', 'KEY_X', 45, 0x2d, 'KeyX'],
  ['c', 'KEY_C', 46, 0x2e, 'KeyC'],
  ['v', 'KEY_V', 47, 0x2f, 'KeyV'],
  ['b', 'KEY_B', 48, 0x30, 'KeyB'],
  ['n', 'KEY_N', 49, 0x31, 'KeyN'],
  ['m', 'KEY_M', 50, 0x32, 'KeyM'],
  ['comma', 'KEY_COMMA', 51, 0x33, 'Comma'],
  ['dot', 'KEY_DOT', 52, 0x34, 'Period'],
  ['slash', 'KEY_SLASH', 53, 0x35, 'Slash'],
  ['asterisk', 'KEY_KPASTERISK', 55, 0x37, 'NumpadMultiply'],
  ['spc', 'KEY_SPACE', 57, 0x39, 'Space'],
  ['caps_lock', 'KEY_CAPSLOCK', 58, 0x3a, 'CapsLock'],
  ['f1', 'KEY_F1', 59, 0x3b, 'F1'],
  ['f2', 'KEY_F2', 60, 0x3c, 'F2'],
  ['f3', 'KEY_F3', 61, 0x3d, 'F3'],
  ['f4', 'KEY_F4', 62, 0x3e, 'F4'],
  ['f5', 'KEY_F5', 63, 0x3f, 'F5'],
  ['f6', 'KEY_F6', 64, 0x40, 'F6'],
  ['f7', 'KEY_F7', 65, 0x41, 'F7'],
  ['f8', 'KEY_F8', 66, 0x42, 'F8'],
  ['f9', 'KEY_F9', 67, 0x43, 'F9'],
  ['f10', 'KEY_F10', 68, 0x44, 'F10'],
  ['num_lock', 'KEY_NUMLOCK', 69, 0x45, 'NumLock'],
  ['scroll_lock', 'KEY_SCROLLLOCK', 70, 0x46, 'ScrollLock'],
  ['kp_divide', 'KEY_KPSLASH', 98, 0xe035, 'NumpadDivide'],
  ['kp_multiply', 'KEY_KPASTERISK', 55, 0x37, 'NumpadMultiply'],
  ['kp_subtract', 'KEY_KPMINUS', 74, 0x4a, 'NumpadSubtract'],
  ['kp_add', 'KEY_KPPLUS', 78, 0x4e, 'NumpadAdd'],
  ['kp_enter', 'KEY_KPENTER', 96, 0xe01c, 'NumpadEnter'],
  ['kp_decimal', 'KEY_KPDOT', 83, 0x53, 'NumpadDecimal'],
  ['sysrq', 'KEY_SYSRQ', 99, 0x54, 'PrintScreen'],
  ['kp_0', 'KEY_KP0', 82, 0x52, 'Numpad0'],
  ['kp_1', 'KEY_KP1', 79, 0x4f, 'Numpad1'],
  ['kp_2', 'KEY_KP2', 80, 0x50, 'Numpad2'],
  ['kp_3', 'KEY_KP3', 81, 0x51, 'Numpad3'],
  ['kp_4', 'KEY_KP4', 75, 0x4b, 'Numpad4'],
  ['kp_5', 'KEY_KP5', 76, 0x4c, 'Numpad5'],
  ['kp_6', 'KEY_KP6', 77, 0x4d, 'Numpad6'],
  ['kp_7', 'KEY_KP7', 71, 0x47, 'Numpad7'],
  ['kp_8', 'KEY_KP8', 72, 0x48, 'Numpad8'],
  ['kp_9', 'KEY_KP9', 73, 0x49, 'Numpad9'],
  ['less', 'KEY_102ND', 86, 0x56, 'IntlBackslash'],
  ['f11', 'KEY_F11', 87, 0x57, 'F11'],
  ['f12', 'KEY_F12', 88, 0x58, 'F12'],
  ['print', 'KEY_SYSRQ', 99, 0xe037, 'PrintScreen'],
  ['home', 'KEY_HOME', 102, 0xe047, 'Home'],
  ['pgup', 'KEY_PAGEUP', 104, 0xe049, 'PageUp'],
  ['pgdn', 'KEY_PAGEDOWN', 109, 0xe051, 'PageDown'],
  ['end', 'KEY_END', 107, 0xe04f, 'End'],
  ['left', 'KEY_LEFT', 105, 0xe04b, 'ArrowLeft'],
  ['up', 'KEY_UP', 103, 0xe048, 'ArrowUp'],
  ['down', 'KEY_DOWN', 108, 0xe050, 'ArrowDown'],
  ['right', 'KEY_RIGHT', 106, 0xe04d, 'ArrowRight'],
  ['insert', 'KEY_INSERT', 110, 0xe052, 'Insert'],
  ['delete', 'KEY_DELETE', 111, 0xe053, 'Delete'],
  ['stop', 'KEY_STOP', 128, 0xe068, 'BrowserStop'],
  ['again', 'KEY_AGAIN', 129, 0xe005, 'Again'],
  ['props', 'KEY_PROPS', 130, 0xe006, 'Props'],
  ['undo', 'KEY_UNDO', 131, 0xe007, 'Undo'],
  ['front', 'KEY_FRONT', 132, 0xe00c],
  ['copy', 'KEY_COPY', 133, 0xe078, 'Copy'],
  ['open', 'KEY_OPEN', 134, 0x64, 'Open'],
  ['paste', 'KEY_PASTE', 135, 0x65, 'Paste'],
  ['find', 'KEY_FIND', 136, 0xe041, 'Find'],
  ['cut', 'KEY_CUT', 137, 0xe03c, 'Cut'],
  ['lf', 'KEY_LINEFEED', 101, 0x5b],
  ['help', 'KEY_HELP', 138, 0xe075, 'Help'],
  ['meta_l', 'KEY_LEFTMETA', 125, 0xe05b, 'MetaLeft'],
  ['meta_r', 'KEY_RIGHTMETA', 126, 0xe05c, 'MetaRight'],
  ['compose', 'KEY_COMPOSE', 127, 0xe05d, 'ContextMenu'],
  ['pause', 'KEY_PAUSE', 119, 0xe046, 'Pause'],
  ['ro', 'KEY_RO', 89, 0x73, 'IntlRo'],
  ['hiragana', 'KEY_HIRAGANA', 91, 0x77, 'Lang4'],
  ['henkan', 'KEY_HENKAN', 92, 0x79, 'Convert'],
  ['yen', 'KEY_YEN', 124, 0x7d, 'IntlYen'],
  ['muhenkan', 'KEY_MUHENKAN', 94, 0x7b, 'NonConvert'],
  ['katakanahiragana', 'KEY_KATAKANAHIRAGANA', 93, 0x70, 'KanaMode'],
  ['kp_comma', 'KEY_KPCOMMA', 121, 0x7e, 'NumpadComma'],
  ['kp_equals', 'KEY_KPEQUAL', 117, 0x59, 'NumpadEqual'],
  ['power', 'KEY_POWER', 116, 0xe05e, 'Power'],
  ['sleep', 'KEY_SLEEP', 142, 0xe05f, 'Sleep'],
  ['wake', 'KEY_WAKEUP', 143, 0xe063, 'WakeUp'],
  ['audionext', 'KEY_NEXTSONG', 163, 0xe019, 'MediaTrackNext'],
  ['audioprev', 'KEY_PREVIOUSSONG', 165, 0xe010, 'MediaTrackPrevious'],
  ['audiostop', 'KEY_STOPCD', 166, 0xe024, 'MediaStop'],
  ['audioplay', 'KEY_PLAYPAUSE', 164, 0xe022, 'MediaPlayPause'],
  ['audiomute', 'KEY_MUTE', 113, 0xe020, 'AudioVolumeMute'],
  ['volumeup', 'KEY_VOLUMEUP', 115, 0xe030, 'AudioVolumeUp'],
  ['volumedown', 'KEY_VOLUMEDOWN', 114, 0xe02e, 'AudioVolumeDown'],
  ['mediaselect', 'KEY_MEDIA', 226, 0xe06d, 'MediaSelect'],
  ['mail', 'KEY_MAIL', 155, 0xe06c, 'LaunchMail'],
  ['calculator', 'KEY_CALC', 140, 0xe021, 'LaunchApp2'],
  ['computer', 'KEY_COMPUTER', 157, 0xe06b, 'LaunchApp1'],
  ['ac_home', 'KEY_HOMEPAGE', 172, 0xe032, 'BrowserHome'],
  ['ac_back', 'KEY_BACK', 158, 0xe06a, 'BrowserBack'],
  ['ac_forward', 'KEY_FORWARD', 159, 0xe069, 'BrowserForward'],
  ['ac_refresh', 'KEY_REFRESH', 173, 0xe067, 'BrowserRefresh'],
  ['ac_bookmarks', 'KEY_BOOKMARKS', 156, 0xe066, 'BrowserFavorites'],
  ['lang1', 'KEY_HANGEUL', 122, 0xf2, 'Lang1'],
  ['lang2', 'KEY_HANJA', 123, 0xf1, 'Lang2'],
]

// Found by pressing every key on QEMU 7.2's keyboards with a Linux 6.1 guest watching.
const NEITHER = 'menu again props undo front copy open paste find cut lf help lang1 lang2'.split(' ')
const NOT_ON_PS2 = new Set(NEITHER)
const NOT_ON_USB = new Set([
  ...NEITHER,
  ...'stop hiragana kp_comma kp_equals sleep wake audionext audioprev audiostop audioplay mediaselect'.split(' '),
  ...'mail calculator computer ac_home ac_back ac_forward ac_refresh ac_bookmarks'.split(' '),
])

/** Every key QEMU 7.2 can inject. */
export const KEYS: readonly Key[] = ROWS.map(([qcode, name, code, scancode, domCode]) => ({
  qcode,
  evdev: { name, code },
  scancode,
  code: domCode,
  ps2: !NOT_ON_PS2.has(qcode),
  usb: !NOT_ON_USB.has(qcode),
}))

const byQcode = new Map(KEYS.map((key) => [key.qcode, key]))

/** The key of a QMP qcode, exactly as QEMU spells it. */
export function keyOfQcode(qcode: string): Key | undefined {
  return byQcode.get(qcode)
}

const evdevNames = new Map(KEYS.map((key) => [key.evdev.code, key.evdev.name]))

/** `KEY_A` for 30; `KEY_#700` for a code the table does not hold. Buttons are named too (`BTN_LEFT`). */
export function evdevKeyName(code: number): string {
  return evdevNames.get(code) ?? BUTTON_NAMES.get(code) ?? `KEY_#${code}`
}

/** Linux button codes of mice and tablets by QMP `InputButton`. */
export const BUTTONS = {
  left: 0x110,
  right: 0x111,
  middle: 0x112,
  side: 0x113,
  extra: 0x114,
} as const

const BUTTON_NAMES = new Map<number, string>(
  Object.entries(BUTTONS).map(([name, code]) => [code, `BTN_${name.toUpperCase()}`]),
)
