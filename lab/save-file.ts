import { open } from 'node:fs/promises'
import { DOMParser, onWarningStopParsing, XMLSerializer } from '@xmldom/xmldom'
import { protocolError } from '../framework/core/index.ts'

/** Header of a libvirt save file, little-endian: magic, then the five numbers below, then 14 reserved words. */
const MAGIC = 'LibvirtQemudSave'
const HEADER_BYTES = 92
const VERSION = 2
const AT = { version: 16, dataLength: 20, cookieOffset: 32 } as const
const MAX_DATA_BYTES = 8 * 1024 * 1024

/** The part of a save file before QEMU's own stream. */
export interface SaveHeader {
  /** The domain as it was saved. */
  xml: string
  /** libvirt's private notes on the domain; kept as they are. */
  cookie: string
  /** Room for XML and cookie together, in bytes. QEMU's stream follows it, so it cannot grow. */
  roomBytes: number
  raw: Buffer
}

/** @throws `ATP_LAB_SAVE_FILE` when it is not a save file of the known layout. */
export async function readSaveHeader(path: string): Promise<SaveHeader> {
  const file = await open(path, 'r')
  try {
    const raw = Buffer.alloc(HEADER_BYTES)
    const { bytesRead } = await file.read(raw, 0, HEADER_BYTES, 0)
    if (bytesRead < HEADER_BYTES || raw.toString('latin1', 0, MAGIC.length) !== MAGIC)
      throw malformed(path, 'no such header')
    if (raw.readUInt32LE(AT.version) !== VERSION) throw malformed(path, `version ${raw.readUInt32LE(AT.version)}`)
    const roomBytes = raw.readUInt32LE(AT.dataLength)
    const cookieOffset = raw.readUInt32LE(AT.cookieOffset)
    if (roomBytes > MAX_DATA_BYTES || cookieOffset > roomBytes) throw malformed(path, 'lengths out of range')
    const data = Buffer.alloc(roomBytes)
    if ((await file.read(data, 0, roomBytes, HEADER_BYTES)).bytesRead < roomBytes)
      throw malformed(path, 'it is cut short')
    const xml = cString(data.subarray(0, cookieOffset || roomBytes))
    return { xml, cookie: cookieOffset ? cString(data.subarray(cookieOffset)) : '', roomBytes, raw }
  } finally {
    await file.close()
  }
}

/**
 * Puts another domain XML into a save file, in place: the 88 MB of memory behind the header stay where they are.
 *
 * @throws `ATP_LAB_SAVE_FILE` when the XML does not fit into the header's room.
 */
export async function writeSaveXml(path: string, header: SaveHeader, xml: string): Promise<void> {
  const text = Buffer.from(`${xml}\0`, 'utf8')
  const cookie = Buffer.from(header.cookie ? `${header.cookie}\0` : '', 'utf8')
  if (text.length + cookie.length > header.roomBytes) throw malformed(path, `${text.length} bytes of XML do not fit`)
  const bytes = Buffer.alloc(HEADER_BYTES + header.roomBytes)
  header.raw.copy(bytes)
  bytes.writeUInt32LE(cookie.length > 0 ? text.length : 0, AT.cookieOffset)
  text.copy(bytes, HEADER_BYTES)
  cookie.copy(bytes, HEADER_BYTES + text.length)
  const file = await open(path, 'r+')
  try {
    await file.write(bytes, 0, bytes.length, 0)
  } finally {
    await file.close()
  }
}

/**
 * The XML of a clone: another name and UUID, and every path below the template's folder moved to the clone's. A
 * console with a password gets the port and password of `console`.
 * Everything else, device addresses above all, must stay what QEMU's stream was written for.
 */
export function cloneXml(
  xml: string,
  {
    name,
    uuid,
    from,
    to,
    console,
  }: { name: string; uuid: string; from: string; to: string; console?: { port: number; ticket: string } },
): string {
  const document = new DOMParser({ onError: onWarningStopParsing }).parseFromString(xml, 'text/xml')
  const root = document.documentElement
  for (let node = root?.firstChild; node; node = node.nextSibling) {
    if (node.nodeName === 'name') node.textContent = name
    if (node.nodeName === 'uuid') node.textContent = uuid
  }
  for (const element of document.getElementsByTagName('*')) {
    for (const attribute of element.attributes) {
      attribute.value = attribute.value.replaceAll(`${from}/`, `${to}/`)
    }
    if (console && element.nodeName === 'graphics' && element.hasAttribute('passwd')) {
      element.setAttribute('autoport', 'no')
      element.setAttribute('port', String(console.port))
      element.setAttribute('passwd', console.ticket)
    }
  }
  return new XMLSerializer().serializeToString(document)
}

function cString(bytes: Buffer): string {
  const end = bytes.indexOf(0)
  return bytes.toString('utf8', 0, end < 0 ? bytes.length : end)
}

function malformed(path: string, why: string): Error {
  return protocolError('ATP_LAB_SAVE_FILE', `${path} is not a libvirt save file the lab can use: ${why}`, {
    remedy: 'remove it and try again; if that does not help, this version of libvirt writes another layout',
  })
}
