import { layoutOf } from './layout.ts'

/** The UK layout, with the AltGr levels of XKB's `gb`. */
export const gb = layoutOf('gb', [
  ['`1234567890-=', 'qwertyuiop[]', "asdfghjkl;'#", '\\zxcvbnm,./'],
  ['¬!"£$%^&*()_+', 'QWERTYUIOP{}', 'ASDFGHJKL:@~', '|ZXCVBNM<>?'],
  ['|¹²³€½¾{[]}\\\u0327', '@ſe¶ŧ←↓→øþ\u0308\u0303', 'æßðđŋħ\u0309ĸł\u0301\u0302\u0300', '|«»¢„“”µ•·\u0323'],
  ['|¡⅛£¼⅜⅝⅞™±°¿\u0328', 'Ω§E®Ŧ¥↑ıØÞ\u030A\u0304', 'ÆẞÐªŊĦ\u031B&Ł\u030B\u030C\u0306', '¦<>©‚‘’º×÷\u0307'],
])
