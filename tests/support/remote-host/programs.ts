import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { labPaths } from '../../../lab/paths.ts'
import { fetchPackages, unpack } from '../../../lab/image/packages.ts'

/**
 * Programs that only tests need. They are unpacked into a folder and never installed: openssh-server's installation
 * would start a daemon on port 22 of a stranger's machine.
 */
const PACKAGES = [
  { name: 'openssh-server', members: ['./usr/sbin/sshd'] },
  { name: 'libwrap0', members: ['./usr/lib/*'] },
  { name: 'libnsl2', members: ['./usr/lib/*'] },
  { name: 'libnss-wrapper', members: ['./usr/lib/*'] },
  { name: 'netcat-openbsd', members: ['./bin/*'] },
  { name: 'sasl2-bin', members: ['./usr/sbin/saslpasswd2'] },
  { name: 'libsasl2-modules', members: ['./usr/lib/*'] },
]

/** Where the packages are unpacked; also who is not root must be able to enter it. */
const FOLDER = join(
  labPaths().home,
  `test-programs-${createHash('sha256').update(JSON.stringify(PACKAGES)).digest('hex').slice(0, 8)}`,
)

/** Fetches what is not there yet; resolves to the folder. */
export async function fetchPrograms(): Promise<string> {
  if (existsSync(FOLDER)) return FOLDER
  await mkdir(dirname(FOLDER), { recursive: true })
  const draft = await mkdtemp(`${FOLDER}-`)
  try {
    const downloads = join(draft, 'downloads')
    const root = join(draft, 'root')
    await mkdir(downloads)
    await mkdir(root)
    for (const item of await fetchPackages(PACKAGES, { folder: downloads, aptState: join(draft, 'apt') })) {
      await unpack(item, root)
    }
    await rename(root, FOLDER).catch((error: NodeJS.ErrnoException) => {
      // Another run was faster.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  } finally {
    await rm(draft, { recursive: true, force: true })
  }
  return FOLDER
}

/** Paths of the programs of {@link fetchPrograms} and of the system. */
export const PROGRAMS = {
  libvirtd: '/usr/sbin/libvirtd',
  virsh: '/usr/bin/virsh',
  qemu: '/usr/bin/qemu-system-x86_64',
  setpriv: '/usr/bin/setpriv',
  openssl: '/usr/bin/openssl',
  ssh: '/usr/bin/ssh',
  sshKeygen: '/usr/bin/ssh-keygen',
  virtSshHelper: '/usr/bin/virt-ssh-helper',
  sshd: `${FOLDER}/usr/sbin/sshd`,
  nc: `${FOLDER}/bin/nc.openbsd`,
  saslpasswd2: `${FOLDER}/usr/sbin/saslpasswd2`,
} as const

/** Folder of the unpacked libraries. */
export const LIBRARIES = `${FOLDER}/usr/lib/x86_64-linux-gnu`

/** Says which of these programs is not here and how to get it; undefined when all are. */
export function missingProgram(names: readonly (keyof typeof PROGRAMS)[]): string | undefined {
  const missing = names.map((name) => PROGRAMS[name]).find((path) => !existsSync(path))
  if (missing === undefined) return undefined
  if (!missing.startsWith(FOLDER)) return `${missing} is not installed`
  return `${missing} is not there: node tests/support/install.ts fetches it`
}
