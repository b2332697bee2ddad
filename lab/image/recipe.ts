import { createHash } from 'node:crypto'
import { DESKTOP_MODULES, GUEST_FILES, GUEST_MODULES } from './guest-files.ts'

/** What the guest takes from one Debian package. */
export interface PackageUse {
  /** Package name; a name that ends in `*` means the one that the package `via` depends on. */
  name: string
  via?: string
  /** Members to unpack, as tar's `--wildcards` patterns. */
  members: readonly string[]
}

const LIB = './*lib/x86_64-linux-gnu'

/** Distribution packages the guest is made of. */
export const GUEST_PACKAGES: readonly PackageUse[] = [
  {
    // The cloud kernel is smaller but has no USB HID, DRM or sound.
    name: 'linux-image-*',
    via: 'linux-image-amd64',
    members: [
      './boot/vmlinuz-*',
      ...[...GUEST_MODULES, ...DESKTOP_MODULES].map((module) => `./lib/modules/*/${module}.ko`),
    ],
  },
  { name: 'busybox-static', members: ['./bin/busybox'] },
  { name: 'qemu-guest-agent', members: ['./usr/sbin/qemu-ga'] },
  { name: 'libc6', members: [`${LIB}/libc.so.6`, `${LIB}/libm.so.6`, `${LIB}/ld-linux-x86-64.so.2`, './lib64/*'] },
  { name: 'libglib2.0-0', members: [`${LIB}/libglib-2.0.so.*`, `${LIB}/libgmodule-2.0.so.*`] },
  { name: 'libpcre2-8-0', members: [`${LIB}/libpcre2-8.so.*`] },
  { name: 'libnuma1', members: [`${LIB}/libnuma.so.*`] },
  { name: 'libudev1', members: [`${LIB}/libudev.so.*`] },
  // Sound: aplay, arecord (the same program) and amixer.
  { name: 'alsa-utils', members: ['./usr/bin/aplay', './usr/bin/arecord', './usr/bin/amixer'] },
  { name: 'libasound2', members: [`${LIB}/libasound.so.*`] },
  {
    name: 'libasound2-data',
    members: ['alsa.conf', 'ctl/*', 'pcm/*', 'cards/aliases.conf', 'cards/ICH.conf'].map(
      (file) => `./usr/share/alsa/${file}`,
    ),
  },
  { name: 'liburing2', members: [`${LIB}/liburing.so.*`] },
]

/** Empty folders of the guest. */
export const GUEST_FOLDERS = ['dev', 'proc', 'sys', 'run', 'tmp', 'root', 'mnt', 'var', 'var/log'] as const

/** Changes whenever this recipe changes: an image of another recipe is not used. */
export const RECIPE_HASH = createHash('sha256')
  .update(JSON.stringify([GUEST_PACKAGES, GUEST_FILES, GUEST_FOLDERS]))
  .digest('hex')
  .slice(0, 12)
