import { XMLSerializer, type Element } from '@xmldom/xmldom'
import { attribute, child, children, domainElement, wholeNumber, parseXml, required } from './xml-document.ts'

/** Namespace of the owner tag in a domain's metadata. */
export const OWNER_NAMESPACE = 'urn:ocloudview:atp:owner:1'
/** Prefix libvirt writes in front of the owner tag. */
export const OWNER_PREFIX = 'atp'

/** Whose a VM is; the fields of the leases' `OwnerTag`. */
export interface OwnerFields {
  run: string
  lease: string
  pid: number
  expires: number
}

/** The owner tag for `setMetadata`, which puts it into {@link OWNER_NAMESPACE} itself. */
export function ownerElement(owner: OwnerFields): string {
  const document = parseXml('<owner/>')
  setOwner(document.documentElement as Element, owner)
  return new XMLSerializer().serializeToString(document)
}

/** Reads what {@link ownerElement} wrote. @throws `ATP_LIBVIRT_XML` */
export function parseOwnerElement(text: string): OwnerFields {
  return readOwner(parseXml(text).documentElement as Element)
}

/** The owner tag in a domain's XML, undefined when it has none. @throws `ATP_LIBVIRT_XML` */
export function ownerOf(domainXml: string): OwnerFields | undefined {
  const metadata = child(domainElement(parseXml(domainXml)), 'metadata')
  const owner = metadata && children(metadata, 'owner', OWNER_NAMESPACE)[0]
  return owner && readOwner(owner)
}

/** The domain's XML with this owner tag instead of any earlier one. @throws `ATP_LIBVIRT_XML` */
export function withOwner(domainXml: string, owner: OwnerFields): string {
  const document = parseXml(domainXml)
  const root = domainElement(document)
  let metadata = child(root, 'metadata')
  if (!metadata) {
    metadata = document.createElement('metadata')
    root.appendChild(metadata)
  }
  for (const old of children(metadata, 'owner', OWNER_NAMESPACE)) metadata.removeChild(old)
  const tag = document.createElementNS(OWNER_NAMESPACE, `${OWNER_PREFIX}:owner`)
  setOwner(tag, owner)
  metadata.appendChild(tag)
  return new XMLSerializer().serializeToString(document)
}

function setOwner(element: Element, { run, lease, pid, expires }: OwnerFields): void {
  for (const [name, value] of Object.entries({ run, lease, pid, expires })) element.setAttribute(name, String(value))
}

function readOwner(element: Element): OwnerFields {
  return {
    run: required(attribute(element, 'run'), 'owner’s run'),
    lease: required(attribute(element, 'lease'), 'owner’s lease'),
    pid: required(wholeNumber(element, 'pid'), 'owner’s pid'),
    expires: required(wholeNumber(element, 'expires'), 'owner’s expiry'),
  }
}
