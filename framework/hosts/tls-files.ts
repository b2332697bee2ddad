import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { configError, messageOf } from '../core/index.ts'
import type { TlsCredentials } from '../transport/index.ts'
import type { HostAccess } from './access.ts'
import type { Environment } from './local-socket.ts'

/** Paths of PEM files. */
export interface TlsFiles {
  ca: string
  crl: string | undefined
  cert: string | undefined
  key: string | undefined
}

export interface TlsFilesOptions {
  /** Paths given for this host; they go before all others. */
  tls?: HostAccess['tls']
  /** Folder the URI names. */
  pkipath?: string
  env: Environment
  /** Whether this is root, who has no files of its own. Default: as it is. */
  root?: boolean
}

const SYSTEM = {
  ca: '/etc/pki/CA/cacert.pem',
  crl: '/etc/pki/CA/cacrl.pem',
  cert: '/etc/pki/libvirt/clientcert.pem',
  key: '/etc/pki/libvirt/private/clientkey.pem',
}

/**
 * Where the certificates for a TLS host are: as libvirt's own clients look, file by file, the user's
 * `~/.pki/libvirt/{cacert,cacrl,clientcert,clientkey}.pem` before those of the machine in `/etc/pki`. Client
 * certificate and key come from the same place. `pkipath` replaces both places.
 */
export function tlsFiles({ tls = {}, pkipath, env, root = process.getuid?.() === 0 }: TlsFilesOptions): TlsFiles {
  const own = (name: string) => join(pkipath ?? join(env['HOME'] || homedir(), '.pki/libvirt'), name)
  const mine = { ca: own('cacert.pem'), crl: own('cacrl.pem'), cert: own('clientcert.pem'), key: own('clientkey.pem') }
  const choose = (name: 'ca' | 'crl'): string => {
    if (pkipath !== undefined) return mine[name]
    return !root && existsSync(mine[name]) ? mine[name] : SYSTEM[name]
  }
  const isPair = ({ cert, key }: { cert: string; key: string }) => existsSync(cert) && existsSync(key)
  const pair = pkipath !== undefined || (!root && isPair(mine)) ? mine : SYSTEM
  const crl = choose('crl')
  return {
    ca: tls.ca ?? choose('ca'),
    crl: existsSync(crl) ? crl : undefined,
    ...(tls.cert !== undefined || tls.key !== undefined
      ? { cert: tls.cert, key: tls.key }
      : { cert: existsSync(pair.cert) ? pair.cert : undefined, key: existsSync(pair.key) ? pair.key : undefined }),
  }
}

/**
 * Reads the files. A host may do without a client certificate; never without a CA.
 *
 * @throws `ATP_TLS_FILE` when one cannot be read, or only one of certificate and key is there.
 */
export async function readTlsFiles({ ca, crl, cert, key }: TlsFiles): Promise<TlsCredentials> {
  if ((cert === undefined) !== (key === undefined)) {
    throw configError(
      'ATP_TLS_FILE',
      `the client certificate ${cert ?? '(none)'} and the key ${key ?? '(none)'} are no pair`,
      {
        context: { cert, key },
        remedy: 'give both a certificate and its key, or neither',
      },
    )
  }
  const [caText, crlText, certText, keyText] = await Promise.all([
    read('CA certificate', ca),
    crl === undefined ? undefined : read('list of revoked certificates', crl),
    cert === undefined ? undefined : read('client certificate', cert),
    key === undefined ? undefined : read('client key', key),
  ])
  return { ca: caText, crl: crlText, cert: certText, key: keyText }
}

async function read(what: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    const errno = (cause as NodeJS.ErrnoException).code
    throw configError('ATP_TLS_FILE', `the ${what} ${path} cannot be read: ${errno ?? messageOf(cause)}`, {
      cause,
      context: { path, errno },
      remedy: 'put it there, or name another: tls: { ca, cert, key } of the host, or pkipath= in its URI',
    })
  }
}
