import { layoutOf } from './layout.ts'

/** The US layout: every printable ASCII character, newline as Enter, tab as Tab. */
export const us = layoutOf('us', [
  ['`1234567890-=', 'qwertyuiop[]', "asdfghjkl;'\\", ' zxcvbnm,./'],
  ['~!@#$%^&*()_+', 'QWERTYUIOP{}', 'ASDFGHJKL:"|', ' ZXCVBNM<>?'],
])
