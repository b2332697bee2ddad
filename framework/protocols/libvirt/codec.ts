import { configError, type AtpError } from '../../core/index.ts'
import { XdrReader, XdrWriter } from '../../wire/index.ts'
import { VERSION } from './protocol-numbers.ts'

/** A domain as libvirt names it. Plain data: it stays valid when the connection is gone. */
export interface Domain {
  readonly name: string
  /** Canonical form, lower case with hyphens. */
  readonly uuid: string
  /** Number of the running incarnation, −1 when it is not running. */
  readonly id: number
}

/** The 24 bytes after a frame's length. */
export interface FrameHeader {
  program: number
  version: number
  procedure: number
  type: number
  serial: number
  status: number
}

/** Bytes in front of a frame's body: length and header. */
const HEADER_BYTES = 28

/** Starts a frame; the body is written into the returned writer, then {@link finishFrame}. */
export function beginFrame(
  program: number,
  procedure: number,
  type: number,
  serial: number,
  status: number,
  capacityBytes?: number,
): XdrWriter {
  return new XdrWriter(capacityBytes).u32(0).u32(program).u32(VERSION).i32(procedure).u32(type).u32(serial).u32(status)
}

/** The frame's bytes, its length filled in. */
export function finishFrame(writer: XdrWriter): Buffer {
  writer.patchU32(0, writer.length)
  return writer.finish()
}

/** Gives a finished frame its serial. */
export function setSerial(frame: Buffer, serial: number): void {
  frame.writeUInt32BE(serial, 20)
}

/** A frame with raw bytes as its body, as streams use them: no XDR length, no padding. */
export function rawFrame(
  program: number,
  procedure: number,
  type: number,
  serial: number,
  status: number,
  body: Uint8Array,
): Buffer {
  const frame = Buffer.allocUnsafe(HEADER_BYTES + body.length)
  frame.writeUInt32BE(frame.length, 0)
  frame.writeUInt32BE(program, 4)
  frame.writeUInt32BE(VERSION, 8)
  frame.writeInt32BE(procedure, 12)
  frame.writeUInt32BE(type, 16)
  frame.writeUInt32BE(serial, 20)
  frame.writeUInt32BE(status, 24)
  frame.set(body, HEADER_BYTES)
  return frame
}

/** Reads a whole frame's header; the reader is left at its body. */
export function readHeader(reader: XdrReader): FrameHeader {
  reader.u32()
  return {
    program: reader.u32(),
    version: reader.u32(),
    procedure: reader.i32(),
    type: reader.u32(),
    serial: reader.u32(),
    status: reader.u32(),
  }
}

/** Domains as the wire has them: the same one is written in every call to it. */
const encodedDomains = new WeakMap<Domain, Buffer>()

/** `remote_nonnull_domain`. @throws `ATP_LIBVIRT_UUID` */
export function writeDomain(writer: XdrWriter, domain: Domain): XdrWriter {
  let encoded = encodedDomains.get(domain)
  if (!encoded) {
    encoded = new XdrWriter(64).string(domain.name).opaque(uuidBytes(domain.uuid)).i32(domain.id).finish()
    encodedDomains.set(domain, encoded)
  }
  return writer.opaque(encoded)
}

/** `remote_domain`: one domain, or all of them. */
export function writeOptionalDomain(writer: XdrWriter, domain: Domain | undefined): XdrWriter {
  return domain ? writeDomain(writer.u32(1), domain) : writer.u32(0)
}

export function readDomain(reader: XdrReader): Domain {
  return { name: reader.string(), uuid: uuidText(reader.opaque(16)), id: reader.i32() }
}

/** The 16 bytes of a UUID. @throws `ATP_LIBVIRT_UUID` */
export function uuidBytes(uuid: string): Buffer {
  const bytes = Buffer.from(uuid.replaceAll('-', ''), 'hex')
  if (bytes.length !== 16 || !/^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(uuid)) throw uuidError(uuid)
  return bytes
}

function uuidText(bytes: Buffer): string {
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

function uuidError(uuid: string): AtpError {
  return configError('ATP_LIBVIRT_UUID', `${JSON.stringify(uuid)} is not a UUID`, {
    remedy: 'write 32 hexadecimal digits as 8-4-4-4-12',
  })
}

/** What a daemon says about a refused call (`remote_error`). */
export interface RemoteError {
  /** `virErrorNumber` */
  code: number
  /** `virErrorDomain`: the part of libvirt that refused. */
  origin: number
  message: string
  /** The domain it is about. */
  domain: Domain | undefined
}

/** Reads `remote_error`. */
export function readRemoteError(reader: XdrReader): RemoteError {
  const code = reader.i32()
  const origin = reader.i32()
  const message = reader.optionalString() ?? ''
  reader.i32()
  const domain = reader.optional() ? readDomain(reader) : undefined
  for (let text = 0; text < 3; text++) reader.optionalString()
  reader.i32()
  reader.i32()
  if (reader.optional()) {
    reader.string()
    reader.opaque(16)
  }
  reader.end()
  return { code, origin, message, domain }
}
