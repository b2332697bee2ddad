import { readFile } from 'node:fs/promises'
import type { CallOptions } from '../core/index.ts'
import { parseLibvirtUri } from '../protocols/libvirt/index.ts'
import type { ConsoleAddress } from '../protocols/protocol.ts'
import { connectTcp, connectTls, connectUnix } from '../transport/index.ts'
import type { ByteStream } from '../wire/byte-stream.ts'
import type { HostInfo } from './access.ts'

/** Listens on all addresses. */
const WILDCARDS: ReadonlySet<string> = new Set(['0.0.0.0', '::'])
const LOOPBACK = '127.0.0.1'

/**
 * A byte stream to a console of a VM on this host: straight from here to where it listens. Over TLS the CA of the
 * host's own access vouches for it, else those Node brings along.
 *
 * @throws what connecting throws.
 */
export async function openConsole(
  { uri, access }: HostInfo,
  address: ConsoleAddress,
  options: CallOptions = {},
): Promise<ByteStream> {
  if ('socketPath' in address) return await connectUnix(address.socketPath, options)
  const { port, tls } = address
  const host = WILDCARDS.has(address.host)
    ? (parseLibvirtUri(uri, { allow: access?.allow }).host ?? LOOPBACK)
    : address.host
  if (!tls) return await connectTcp({ host, port }, options)
  const ca = access?.tls?.ca === undefined ? undefined : await readFile(access.tls.ca, 'utf8')
  return await connectTls({ host, port, ...(ca !== undefined && { ca }) }, options)
}
