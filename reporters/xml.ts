/** XML 1.0 text, element by element; everything that goes in is escaped. */
export interface XmlElement {
  name: string
  attributes?: Record<string, string | number | undefined>
  children?: (XmlElement | string | undefined)[]
}

/** A whole document. Attributes that are undefined are left out. */
export function xmlDocument(root: XmlElement): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n${render(root, '')}\n`
}

function render({ name, attributes = {}, children = [] }: XmlElement, indent: string): string {
  const open = Object.entries(attributes).reduce(
    (tag, [key, value]) => (value === undefined ? tag : `${tag} ${key}="${escapeAttribute(String(value))}"`),
    `${indent}<${name}`,
  )
  const content = children.filter((child) => child !== undefined)
  if (content.length === 0) return `${open}/>`
  // Text is kept as it is: white space around it would become part of it.
  if (content.every((child) => typeof child === 'string'))
    return `${open}>${content.map(escapeText).join('')}</${name}>`
  const inner = content.map((child) => (typeof child === 'string' ? escapeText(child) : render(child, `${indent}  `)))
  return `${open}>\n${inner.join('\n')}\n${indent}</${name}>`
}

/**
 * Characters XML 1.0 §2.2 does not allow, lone surrogates included; guests and terminals produce them. Control
 * characters become their pictures (`␛`), others a box.
 */
// oxlint-disable-next-line no-control-regex
const NOT_XML = /[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu

function escapeText(text: string): string {
  return text
    .replace(NOT_XML, (char) => (char < ' ' ? String.fromCodePoint(0x2400 + char.charCodeAt(0)) : '□'))
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#13;')
}

function escapeAttribute(text: string): string {
  return escapeText(text).replaceAll('"', '&quot;').replaceAll('\n', '&#10;').replaceAll('\t', '&#9;')
}
