import { writeFile } from 'node:fs/promises'

const CLUSTER_BITS = 16
const CLUSTER_BYTES = 1 << CLUSTER_BITS
const DISK_BYTES = CLUSTER_BYTES
/** Clusters of an empty image: header, reference count table, reference count block, first-level table. */
const CLUSTERS = 4

/**
 * Writes an empty qcow2 image. The guest has no driver for it and never sees it: it is where QEMU keeps the VM's
 * pristine state, as an internal snapshot, so that the VM can be reset in place (QEMU documentation,
 * `interop/qcow2`).
 */
export async function writeStateDisk(path: string): Promise<void> {
  const image = Buffer.alloc(CLUSTERS * CLUSTER_BYTES)
  image.writeUInt32BE(0x514649fb, 0) // "QFI\xfb"
  image.writeUInt32BE(3, 4) // version
  image.writeUInt32BE(CLUSTER_BITS, 20)
  image.writeBigUInt64BE(BigInt(DISK_BYTES), 24)
  image.writeUInt32BE(1, 36) // entries of the first-level table
  image.writeBigUInt64BE(BigInt(3 * CLUSTER_BYTES), 40) // first-level table
  image.writeBigUInt64BE(BigInt(CLUSTER_BYTES), 48) // reference count table
  image.writeUInt32BE(1, 56) // its clusters
  image.writeUInt32BE(4, 96) // reference counts have 2^4 bits
  image.writeUInt32BE(104, 100) // length of this header
  image.writeBigUInt64BE(BigInt(2 * CLUSTER_BYTES), CLUSTER_BYTES)
  for (let cluster = 0; cluster < CLUSTERS; cluster += 1) image.writeUInt16BE(1, 2 * CLUSTER_BYTES + 2 * cluster)
  await writeFile(path, image)
}
