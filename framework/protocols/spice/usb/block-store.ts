import type { CallOptions } from '../../../core/deadline.ts'

/** What is behind a USB disk: bytes that can be read and written anywhere. */
export interface BlockStore {
  /** A multiple of 512, known once it is open. */
  readonly sizeBytes: number
  /** Before the disk is plugged in, and after it was pulled out. */
  open?(options: CallOptions): Promise<void>
  close?(): Promise<void>
  /** All of these bytes; they are within the size. */
  read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array>
  write(offsetBytes: number, bytes: Uint8Array): Promise<void>
  /** Resolves when everything written is kept. */
  flush(): Promise<void>
}

/** Bytes in memory as the content of a USB disk. What the guest writes is written into them. */
export class MemoryBlockStore implements BlockStore {
  readonly bytes: Uint8Array

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
  }

  get sizeBytes(): number {
    return this.bytes.length
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    return this.bytes.slice(offsetBytes, offsetBytes + lengthBytes)
  }

  async write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    this.bytes.set(bytes, offsetBytes)
  }

  async flush(): Promise<void> {}
}
