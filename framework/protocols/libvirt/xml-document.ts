import { DOMParser, onWarningStopParsing, type Document, type Element } from '@xmldom/xmldom'
import { messageOf, protocolError } from '../../core/index.ts'

/** @throws `ATP_LIBVIRT_XML` for text that is not well-formed, and for a document type declaration. */
export function parseXml(text: string): Document {
  let document: Document
  try {
    document = new DOMParser({ onError: onWarningStopParsing }).parseFromString(text, 'text/xml')
  } catch (error) {
    throw xmlError(messageOf(error), error)
  }
  // libvirt writes none, and a document type can define entities.
  if (document.doctype) throw xmlError('it has a document type declaration')
  return document
}

/** The document's `<domain>`. @throws `ATP_LIBVIRT_XML` when its root is another element. */
export function domainElement(document: Document): Element {
  const root = document.documentElement
  if (!root || root.localName !== 'domain') throw xmlError(`its root element is <${root?.nodeName}>, not <domain>`)
  return root
}

/** Direct child elements of this name, in the order of the document. libvirt's own have no namespace. */
export function children(parent: Element, localName: string, namespace: string | null = null): Element[] {
  const found: Element[] = []
  for (let node = parent.firstChild; node; node = node.nextSibling) {
    const element = node as Element
    if (node.nodeType === 1 && element.localName === localName && (element.namespaceURI ?? null) === namespace) {
      found.push(element)
    }
  }
  return found
}

/** The first of {@link children}. */
export function child(parent: Element, localName: string): Element | undefined {
  return children(parent, localName)[0]
}

/** Follows first children down a path. */
export function descend(from: Element | undefined, ...path: string[]): Element | undefined {
  return path.reduce<Element | undefined>((element, name) => element && child(element, name), from)
}

/** An attribute's value, undefined when it is not there. */
export function attribute(element: Element | undefined, name: string): string | undefined {
  return element?.getAttribute(name) ?? undefined
}

/** @throws `ATP_LIBVIRT_XML` when the attribute is there and is no whole number. */
export function wholeNumber(element: Element, name: string): number | undefined {
  const value = attribute(element, name)
  if (value === undefined) return undefined
  if (!/^-?\d{1,15}$/.test(value)) throw xmlError(`${name}="${value}" is not a whole number`)
  return Number(value)
}

/** The text inside, trimmed; undefined when there is none. */
export function textOf(element: Element | undefined): string | undefined {
  return element?.textContent?.trim() || undefined
}

/** @throws `ATP_LIBVIRT_XML` naming what is missing. */
export function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw xmlError(`it names no ${what}`)
  return value
}

function xmlError(message: string, cause?: unknown): Error {
  return protocolError('ATP_LIBVIRT_XML', `the domain XML cannot be read: ${message}`, { cause })
}
