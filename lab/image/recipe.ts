import { createHash } from 'node:crypto'
import { AGENT_MODULES, DESKTOP_MODULES, GUEST_FILES, GUEST_MODULES } from './guest-files.ts'

/** What the guest takes from one Debian package. */
export interface PackageUse {
  /** Package name; a name that ends in `*` means the one that the package `via` depends on. */
  name: string
  via?: string
  /** The version to take is that of this package, whatever other version a source or this machine has. */
  versionOf?: string
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
      ...[...GUEST_MODULES, ...DESKTOP_MODULES, ...AGENT_MODULES].map((module) => `./lib/modules/*/${module}.ko`),
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

/** Node as Debian packages it, with the libraries that the guest lacks, and the scripts that it reads at its start. */
export const NODE_PACKAGES: readonly PackageUse[] = [
  { name: 'libnode108', members: [`${LIB}/libnode.so.*`] },
  { name: 'nodejs', versionOf: 'libnode108', members: ['./usr/bin/node'] },
  { name: 'libicu72', members: ['data', 'i18n', 'uc'].map((part) => `${LIB}/libicu${part}.so.*`) },
  { name: 'libssl3', members: [`${LIB}/libssl.so.*`, `${LIB}/libcrypto.so.*`] },
  { name: 'libuv1', members: [`${LIB}/libuv.so.*`] },
  { name: 'libnghttp2-14', members: [`${LIB}/libnghttp2.so.*`] },
  { name: 'libc-ares2', members: [`${LIB}/libcares.so.*`] },
  { name: 'libbrotli1', members: [`${LIB}/libbrotli*.so.*`] },
  { name: 'zlib1g', members: [`${LIB}/libz.so.*`] },
  { name: 'libstdc++6', members: [`${LIB}/libstdc++.so.*`] },
  { name: 'libgcc-s1', members: [`${LIB}/libgcc_s.so.*`] },
  { name: 'node-undici', members: ['./usr/share/nodejs/undici/undici-fetch.js'] },
  { name: 'node-acorn', members: ['acorn/dist/acorn.js', 'acorn-walk/dist/walk.js'].map(nodeScript) },
  {
    name: 'node-cjs-module-lexer',
    members: ['lexer.js', 'dist/lexer.js'].map((file) => nodeScript(`cjs-module-lexer/${file}`)),
  },
]

function nodeScript(path: string): string {
  return `./usr/share/nodejs/${path}`
}

const hashOf = (...parts: readonly unknown[]) =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 12)

/** Change whenever their recipe changes: what was made by another recipe is not used. */
export const RECIPE_HASH = hashOf(GUEST_PACKAGES, GUEST_FILES, GUEST_FOLDERS)
export const NODE_RECIPE_HASH = hashOf(NODE_PACKAGES)
