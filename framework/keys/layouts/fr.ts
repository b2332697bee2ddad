import { layoutOf } from './layout.ts'

/** The French layout (AZERTY), with the AltGr levels of XKB's `fr`. */
export const fr = layoutOf('fr', [
  [`²&é"'(-è_çà)=`, 'azertyuiop\u0302$', 'qsdfghjklmù*', '<wxcvbn,;:!'],
  ['~1234567890°+', 'AZERTYUIOP\u0308£', 'QSDFGHJKLM%µ', '>WXCVBN?./§'],
  ['¬¹~#{[|`\\^@]}', 'æ«€¶ŧ←↓→øþ\u0308¤', '@ßðđŋħ\u0309ĸłµ\u0302\u0300', '|ł»¢„“”\u0301•·\u0323'],
  ['¬¡⅛£$⅜⅝⅞™±°¿\u0328', 'Æ<¢®Ŧ¥↑ıØÞ\u030A\u0304', 'ΩẞÐªŊĦ\u031B&Łº\u030C\u0306', '¦Ł>©‚‘’\u030B×÷\u0307'],
])
