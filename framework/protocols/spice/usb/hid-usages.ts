/** First usage of a run of keys, and their `KeyboardEvent.code`s. HID Usage Tables 1.12, page 7. */
const RUNS: readonly [first: number, codes: string][] = [
  [4, 'KeyA KeyB KeyC KeyD KeyE KeyF KeyG KeyH KeyI KeyJ KeyK KeyL KeyM'],
  [17, 'KeyN KeyO KeyP KeyQ KeyR KeyS KeyT KeyU KeyV KeyW KeyX KeyY KeyZ'],
  [30, 'Digit1 Digit2 Digit3 Digit4 Digit5 Digit6 Digit7 Digit8 Digit9 Digit0'],
  [40, 'Enter Escape Backspace Tab Space Minus Equal BracketLeft BracketRight Backslash'],
  [51, 'Semicolon Quote Backquote Comma Period Slash CapsLock F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12'],
  [70, 'PrintScreen ScrollLock Pause Insert Home PageUp Delete End PageDown'],
  [79, 'ArrowRight ArrowLeft ArrowDown ArrowUp NumLock'],
  [84, 'NumpadDivide NumpadMultiply NumpadSubtract NumpadAdd NumpadEnter'],
  [89, 'Numpad1 Numpad2 Numpad3 Numpad4 Numpad5 Numpad6 Numpad7 Numpad8 Numpad9 Numpad0 NumpadDecimal'],
  [100, 'IntlBackslash ContextMenu Power NumpadEqual F13 F14 F15 F16 F17 F18 F19 F20 F21 F22 F23 F24'],
  [135, 'IntlRo KanaMode IntlYen Convert NonConvert'],
  [224, 'ControlLeft ShiftLeft AltLeft MetaLeft ControlRight ShiftRight AltRight MetaRight'],
]

const USAGES = new Map(
  RUNS.flatMap(([first, codes]) => codes.split(' ').map((code, index): [string, number] => [code, first + index])),
)

/** The first of the eight modifiers. */
export const FIRST_MODIFIER = 224

/** The usage of a key by its `KeyboardEvent.code`; undefined for keys that a USB keyboard does not have. */
export function usageOf(code: string): number | undefined {
  return USAGES.get(code)
}

/** Every `KeyboardEvent.code` with a usage. */
export const USAGE_CODES: readonly string[] = [...USAGES.keys()]
