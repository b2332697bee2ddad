import { isIP } from 'node:net'
import { connect, type PeerCertificate, type TLSSocket } from 'node:tls'
import { withDeadline, type CallOptions } from '../../core/index.ts'
import { DEFAULT_PORT, type LibvirtUri } from '../../protocols/libvirt/index.ts'
import type { Finding } from '../finding.ts'

const DAY_MS = 86_400_000
const SOON_DAYS = 30

/**
 * The certificate a TLS host shows. It is only read: whether it can be trusted is for the connection itself to say.
 *
 * @returns undefined where none could be had; the connection fails then and says why.
 */
export async function examineCertificate(
  uri: LibvirtUri,
  bounds: CallOptions,
  now = Date.now(),
): Promise<Finding | undefined> {
  try {
    const certificate = await withDeadline(`reading the certificate of ${uri.host}`, bounds, (signal) =>
      shownCertificate(uri, signal),
    )
    return judgeCertificate(certificate, now)
  } catch {
    // Also one whose dates or names are none.
    return undefined
  }
}

type Shown = Pick<PeerCertificate, 'subject' | 'issuer' | 'valid_from' | 'valid_to' | 'subjectaltname'>

/** Who it was made for, and whether it is, or soon will be, too old. */
export function judgeCertificate(
  { subject, issuer, valid_from, valid_to, subjectaltname }: Shown,
  now: number,
): Finding {
  const what = 'certificate'
  const end = Date.parse(valid_to)
  const day = (text: string) => new Date(Date.parse(text)).toISOString().slice(0, 10)
  const names = subjectaltname ? ` for ${subjectaltname}` : ''
  const name = `"${subject.CN ?? '(no name)'}"${names}, by "${issuer.CN ?? '(no name)'}"`
  const remedy = 'issue a new server certificate and restart the daemon'
  if (end < now) return { state: 'bad', what, detail: `${name}, expired on ${day(valid_to)}`, remedy }
  if (Date.parse(valid_from) > now) {
    const clocks = 'compare the clocks of both machines'
    return { state: 'bad', what, detail: `${name}, valid only from ${day(valid_from)}`, remedy: clocks }
  }
  const days = Math.floor((end - now) / DAY_MS)
  const detail = `${name}, valid until ${day(valid_to)}`
  return days < SOON_DAYS
    ? { state: 'warn', what, detail: `${detail}: ${days} days left`, remedy }
    : { state: 'ok', what, detail }
}

function shownCertificate({ host = '', port }: LibvirtUri, signal: AbortSignal): Promise<PeerCertificate> {
  return new Promise((resolve, reject) => {
    const socket: TLSSocket = connect({
      host,
      port: port ?? DEFAULT_PORT.tls,
      ...(isIP(host) ? {} : { servername: host }),
      // Also a certificate that is refused is worth a look; nothing is sent on this connection.
      rejectUnauthorized: false,
    })
    const end = () => socket.destroy()
    signal.addEventListener('abort', end, { once: true })
    socket.once('secureConnect', () => {
      resolve(socket.getPeerCertificate())
      socket.destroy()
    })
    socket.on('error', reject)
    socket.once('close', () => {
      signal.removeEventListener('abort', end)
      reject(new Error('closed'))
    })
  })
}
