import { isAtpError, logger, messageOf, protocolError, type CallOptions } from '../core/index.ts'
import { DEFAULT_PORT, formatLibvirtUri, type LibvirtUri } from '../protocols/libvirt/index.ts'
import {
  afterPrelude,
  clientCertificateError,
  connectSsh,
  connectTcp,
  connectTls,
  connectUnix,
  type TlsAddress,
} from '../transport/index.ts'
import type { ByteStream } from '../wire/index.ts'
import type { HostAccess } from './access.ts'
import { explainLocal, localSocketPath, type Environment } from './local-socket.ts'
import { checkedForShell, remoteCommand, sshAddress } from './ssh-proxy.ts'
import { readTlsFiles, tlsFiles } from './tls-files.ts'

export { defaultSocketPath, localSocketPath, type Environment } from './local-socket.ts'

export interface DialOptions extends CallOptions {
  access?: HostAccess
  /** Default: this process's. */
  env?: Environment
}

/** A daemon that has just started probes its emulators before it answers; ssh may be slow to log in. */
const DIAL_TIMEOUT_MS = 30_000
/** What the daemon sends once TLS is there and it admits the client. */
const ADMITTED = 0x01

/**
 * Connects to the daemon a URI names. The stream is ready for calls: over TLS the daemon has admitted us, over ssh the
 * program that leads to the daemon runs. Default limit 30 s, for everything together.
 *
 * @throws `ATP_TRANSPORT_CONNECT`, `ATP_TRANSPORT_TIMEOUT`, `ATP_TRANSPORT_PATH`, `ATP_INTERRUPTED`; over TLS
 *   `ATP_TLS_FILE`, `ATP_TLS_UNKNOWN_CA`, `ATP_TLS_EXPIRED`, `ATP_TLS_NAME`, `ATP_TLS_CLIENT_CERTIFICATE`,
 *   `ATP_TLS_HANDSHAKE`; over ssh `ATP_SSH_MISSING`, `ATP_SSH_HOST_KEY`, `ATP_SSH_AUTH`, `ATP_SSH_CONNECT`,
 *   `ATP_SSH_NO_PROGRAM`, `ATP_SSH_ENDED`. Only those that may pass by themselves are `retryable`.
 */
export async function dial(uri: LibvirtUri, options: DialOptions = {}): Promise<ByteStream> {
  const { env = process.env, timeoutMs = DIAL_TIMEOUT_MS } = options
  const log = logger('hosts')
  const text = formatLibvirtUri(uri)
  const startedMs = performance.now()
  const remaining = (): CallOptions => ({
    signal: options.signal,
    timeoutMs: Math.max(1, timeoutMs - (performance.now() - startedMs)),
  })
  log.debug('dialling {uri}', { uri: text })
  if (uri.noVerify || uri.knownHostsVerify === 'ignore') {
    log.warn('{uri}: nobody checks who answers there (no_verify)', { uri: text })
  }
  try {
    const stream = await reach(uri, options.access, env, remaining)
    log.debug('{uri}: connected in {ms} ms', { uri: text, ms: Math.round(performance.now() - startedMs) })
    return stream
  } catch (error) {
    log.debug('{uri}: {reason}', { uri: text, reason: messageOf(error) })
    throw error
  }
}

async function reach(
  uri: LibvirtUri,
  access: HostAccess | undefined,
  env: Environment,
  remaining: () => CallOptions,
): Promise<ByteStream> {
  const { host = '' } = uri
  switch (uri.transport) {
    case 'unix':
      return connectUnix(localSocketPath(uri, env), remaining()).catch((error: unknown) => {
        throw explainLocal(error, uri)
      })
    case 'tcp':
      return connectTcp({ host, port: uri.port ?? DEFAULT_PORT.tcp }, remaining())
    case 'tls': {
      const credentials = await readTlsFiles(tlsFiles({ tls: access?.tls, pkipath: uri.pkipath, env }))
      const address = { host, port: uri.port ?? DEFAULT_PORT.tls, ...credentials, verify: !uri.noVerify }
      try {
        return await admitted(address, remaining)
      } catch (error) {
        // A daemon that is just ending looks like one that refuses us; asked again, it is gone.
        if (!isAtpError(error, 'ATP_TLS_CLIENT_CERTIFICATE')) throw error
        return admitted(address, remaining)
      }
    }
    case 'ssh': {
      const checked = checkedForShell(uri)
      return connectSsh(sshAddress(checked, env), remoteCommand(checked), remaining())
    }
  }
}

/** A TLS connection whose client the daemon has admitted; refusing it, the daemon just ends the connection. */
async function admitted(address: TlsAddress, remaining: () => CallOptions): Promise<ByteStream> {
  const stream = await connectTls(address, remaining())
  const { peer } = stream
  return afterPrelude(
    stream,
    {
      missing: 'did not say whether it admits this client',
      maxBytes: 1,
      lengthIn: ([first]) => {
        if (first === ADMITTED) return 1
        throw protocolError('ATP_LIBVIRT_PROTOCOL', `${peer} does not greet as a libvirt daemon does over TLS`, {
          context: { peer, first },
          remedy: 'check that the address is that of a libvirt daemon',
        })
      },
      ended: (reason) => reason ?? clientCertificateError(peer, address.cert),
    },
    remaining(),
  )
}
