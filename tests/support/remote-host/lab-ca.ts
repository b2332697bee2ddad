import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PROGRAMS } from './programs.ts'

/** PEM files of a certificate and its private key. */
export interface Credentials {
  cert: string
  key: string
}

export interface CertificateOptions {
  /** What it may be used for. */
  use: 'server' | 'client'
  /** Names and addresses of a server: `DNS:localhost`, `IP:127.0.0.1`. */
  names?: readonly string[]
  /** Validity from now on; negative for a certificate that has expired. Default 2. */
  days?: number
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes']

/** A certificate authority in a folder of its own; its key can be read by its maker only. */
export class LabCa {
  /** PEM file of the authority's own certificate. */
  readonly cert: string
  readonly #folder: string
  readonly #key: string
  #issued = 0

  /** Makes the authority's key and certificate in an existing folder. */
  constructor(folder: string, commonName: string) {
    this.#folder = folder
    this.cert = join(folder, 'ca.pem')
    this.#key = join(folder, 'ca-key.pem')
    openssl(
      'req',
      '-x509',
      ...NEW_KEY,
      '-keyout',
      this.#key,
      '-out',
      this.cert,
      '-days',
      '2',
      '-subj',
      `/CN=${commonName}`,
    )
  }

  issue(commonName: string, { use, names = [], days = 2 }: CertificateOptions): Credentials {
    const base = join(this.#folder, `${++this.#issued}-${use}`)
    const files = { cert: `${base}.pem`, key: `${base}-key.pem` }
    const extensions = [
      'basicConstraints=critical,CA:FALSE',
      'keyUsage=critical,digitalSignature,keyEncipherment',
      `extendedKeyUsage=${use}Auth`,
      ...(names.length > 0 ? [`subjectAltName=${names.join(',')}`] : []),
    ]
    writeFileSync(`${base}.ext`, extensions.join('\n'))
    openssl('req', '-new', ...NEW_KEY, '-keyout', files.key, '-out', `${base}.csr`, '-subj', `/CN=${commonName}`)
    const sign = ['x509', '-req', '-in', `${base}.csr`, '-CA', this.cert, '-CAkey', this.#key, '-CAcreateserial']
    openssl(...sign, '-days', `${days}`, '-extfile', `${base}.ext`, '-out', files.cert)
    return files
  }
}

function openssl(...args: string[]): void {
  execFileSync(PROGRAMS.openssl, args, { stdio: ['ignore', 'ignore', 'pipe'], timeout: 30_000 })
}
