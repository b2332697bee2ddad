/** The lab's own files inside the guest. Everything else in the guest comes from distribution packages. */
import { identityProgram, MACHINE_UUID_FILE } from './identity-program.ts'

/** Kernel modules in the order in which they can be loaded. The rest of what is needed is built in. */
export const GUEST_MODULES = [
  'virtio_ring',
  'virtio',
  'virtio_pci_modern_dev',
  'virtio_pci_legacy_dev',
  'virtio_pci',
  'virtio_console',
  'evdev',
  'psmouse',
  'hid',
  'usb-common',
  'usbcore',
  'xhci-hcd',
  'xhci-pci',
  'hid-generic',
  'usbhid',
  'virtio_input',
] as const

/** What a desktop needs besides, in the order in which it can be loaded: QXL, AC97 sound, USB storage. */
export const DESKTOP_MODULES = [
  'drm',
  'ttm',
  'drm_kms_helper',
  'drm_ttm_helper',
  'qxl',
  'soundcore',
  'snd',
  'snd-timer',
  'snd-pcm',
  'ac97_bus',
  'snd-ac97-codec',
  'snd-intel8x0',
  'scsi_common',
  'scsi_mod',
  'crct10dif_common',
  'crc-t10dif',
  'crc64',
  'crc64-rocksoft',
  't10-pi',
  'sd_mod',
  'usb-storage',
] as const

/** What an agent's guest needs besides, in the order in which it can be loaded: disks, network, EROFS. */
export const AGENT_MODULES = [
  'virtio_blk',
  'failover',
  'net_failover',
  'virtio_net',
  'crc32c_generic',
  'libcrc32c',
  'erofs',
] as const

/** How an agent's guest knows the disk with Node; see `node-disk.ts`. */
export const NODE_DISK_SERIAL = 'atp-node'

/** The guest verifier, for `atp-verifier`, and the log of the one that is part of a snapshot. */
export const VERIFIER_FILE = '/usr/lib/atp-verifier.mjs'
export const VERIFIER_LOG = '/var/log/atp-verifier.log'

/** Where the guest links its input devices: `/dev/input/atp/ps2-keyboard`, `virtio-tablet`, … */
const GUEST_INPUT_LINKS = '/dev/input/atp'
/** Exists once all devices of the profile are there and linked. */
export const GUEST_READY_FILE = '/run/atp-ready'
const INITTAB = `::sysinit:/etc/boot
::respawn:/usr/sbin/qemu-ga -m virtio-serial -p /dev/virtio-ports/org.qemu.guest_agent.0
::respawn:/sbin/atp-identity
::once:/etc/settle
tty1::respawn:-/bin/sh
::shutdown:/bin/umount -a -r
`

const BOOT = `#!/bin/sh
export PATH=/sbin:/usr/sbin:/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm /dev/virtio-ports ${GUEST_INPUT_LINKS}
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp
mkdir -p /run/lock
echo 0 > /proc/sys/kernel/ctrl-alt-del
echo 0 > /proc/sys/kernel/sysrq
hostname atp-guest
# Its clones have other ones.
cat /sys/class/dmi/id/product_uuid > ${MACHINE_UUID_FILE}
chmod 400 ${MACHINE_UUID_FILE}
mount --bind ${MACHINE_UUID_FILE} /sys/class/dmi/id/product_uuid
lists=/etc/modules
for word in $(cat /proc/cmdline); do
  case $word in atp.modules=*) more=\${word#atp.modules=} lists="$lists /etc/modules.$more" ;; esac
done
for module in $(cat $lists); do insmod /lib/modules/$module.ko; done
# They are in memory twice now.
rm -r /lib/modules
# The agent's port comes last in the machine's description, so when it has its name all have.
until grep -qsx org.qemu.guest_agent.0 /sys/class/virtio-ports/*/name; do usleep 5000; done
for port in /sys/class/virtio-ports/*; do
  read name < $port/name && ln -s ../\${port##*/} /dev/virtio-ports/$name
done
[ -x /etc/boot.$more ] && /etc/boot.$more
echo "guest booted, agent starting" > /dev/ttyS0
`

// QEMU's user network: the guest has one address, the host's loopback another. Without a route to anywhere else.
const BOOT_AGENT = `#!/bin/sh
for disk in /sys/block/vd*; do
  [ "$(cat $disk/serial)" = ${NODE_DISK_SERIAL} ] && node=/dev/\${disk##*/}
done
mkdir /mnt/node
mount -t erofs -o ro $node /mnt/node
ln -s /mnt/node/lib/*.so.* /usr/lib/x86_64-linux-gnu/
ln -s /mnt/node/bin/node /usr/bin/node
ln -s /mnt/node/share/nodejs /usr/share/nodejs
echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6
ip link set lo up
ip addr add 10.0.2.15/24 dev eth0
ip link set eth0 up
`

const SETTLE = `#!/bin/sh
export PATH=/sbin:/usr/sbin:/bin:/usr/bin
link_inputs() {
  for device in /sys/class/input/event*; do
    read name < $device/device/name
    case "$name" in
      "AT Translated Set 2 keyboard") link=ps2-keyboard ;;
      *"Generic"*"Mouse"|"PS/2"*"Mouse"|"VirtualPS/2"*) link=ps2-mouse ;;
      "QEMU Virtio Keyboard") link=virtio-keyboard ;;
      "QEMU Virtio Mouse") link=virtio-mouse ;;
      "QEMU Virtio Tablet") link=virtio-tablet ;;
      "QEMU QEMU USB Keyboard") link=usb-keyboard ;;
      "QEMU QEMU USB Mouse") link=usb-mouse ;;
      "QEMU QEMU USB Tablet") link=usb-tablet ;;
      *) continue ;;
    esac
    ln -sf ../\${device##*/} ${GUEST_INPUT_LINKS}/$link
  done
}
all_linked() {
  for link in $inputs; do [ -e ${GUEST_INPUT_LINKS}/$link ] || return 1; done
}
for word in $(cat /proc/cmdline); do
  case $word in atp.inputs=*) inputs=$(echo \${word#atp.inputs=} | tr , ' ') ;; esac
done
until link_inputs; all_linked; do usleep 20000; done
touch ${GUEST_READY_FILE}
echo "guest ready: $(ls ${GUEST_INPUT_LINKS} | tr '\\n' ' ')" > /dev/ttyS0
`

// The agent runs "shutdown -h|-P|-r … +0" for guest-shutdown; busybox has no such applet.
const SHUTDOWN = `#!/bin/sh
for word; do
  case $word in
    -r) exec reboot ;;
    -H) exec halt ;;
  esac
done
exec poweroff
`

const VERIFIER = `#!/bin/sh
exec node ${VERIFIER_FILE} "$@"
`

const OS_RELEASE = `ID=atp-guest
NAME="ATP lab guest"
VERSION_ID=1
VERSION=1
PRETTY_NAME="ATP lab guest 1"
`

const PROFILE = `export PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root PS1='\\h:\\w\\$ '
cd /root
`

/** Path without leading slash, mode, content. */
export const GUEST_FILES: readonly { path: string; mode: number; content: string | Buffer }[] = [
  { path: 'etc/inittab', mode: 0o644, content: INITTAB },
  { path: 'etc/boot', mode: 0o755, content: BOOT },
  { path: 'etc/boot.agent', mode: 0o755, content: BOOT_AGENT },
  { path: 'etc/settle', mode: 0o755, content: SETTLE },
  { path: 'etc/modules', mode: 0o644, content: `${GUEST_MODULES.join('\n')}\n` },
  { path: 'etc/modules.desktop', mode: 0o644, content: `${DESKTOP_MODULES.join('\n')}\n` },
  { path: 'etc/modules.agent', mode: 0o644, content: `${AGENT_MODULES.join('\n')}\n` },
  { path: 'etc/hosts', mode: 0o644, content: '127.0.0.1 localhost\n' },
  { path: 'etc/machine-id', mode: 0o644, content: 'uninitialized\n' },
  { path: 'etc/os-release', mode: 0o644, content: OS_RELEASE },
  { path: 'etc/passwd', mode: 0o644, content: 'root:x:0:0:root:/root:/bin/sh\n' },
  { path: 'etc/group', mode: 0o644, content: 'root:x:0:\n' },
  { path: 'etc/profile', mode: 0o644, content: PROFILE },
  { path: 'usr/bin/atp-verifier', mode: 0o755, content: VERIFIER },
  { path: 'sbin/shutdown', mode: 0o755, content: SHUTDOWN },
  { path: 'sbin/atp-identity', mode: 0o755, content: identityProgram() },
]
