import { layoutOf } from './layout.ts'

/** The German layout with dead keys, with the AltGr levels of XKB's `de`. */
export const de = layoutOf('de', [
  ['\u03021234567890ß\u0301', 'qwertzuiopü+', 'asdfghjklöä#', '<yxcvbnm,.-'],
  ['°!"§$%&/()=?\u0300', 'QWERTZUIOPÜ*', "ASDFGHJKLÖÄ'", '>YXCVBNM;:_'],
  ['′¹²³¼½¬{[]}\\\u0327', '@ſ€¶ŧ←↓→øþ\u0308~', 'æſðđŋħ\u0323ĸł\u030B\u0302’', '|»«¢„“”µ·…–'],
  ['″¡⅛£¤⅜⅝⅞™±°¿\u0328', 'Ω§€®Ŧ¥↑ıØÞ\u030A¯', 'ÆẞÐªŊĦ\u0307&Ł\u0323\u030C\u0306', '\u0331›‹©‚‘’º×÷—'],
])
