import { open, type FileHandle } from 'node:fs/promises'
import { resolve } from 'node:path'
import { configError, stateError } from '../core/index.ts'
import type { BlockStore } from '../protocols/spice/index.ts'

/** A file as the content of a USB disk. What the guest writes is in the file at once. */
export class FileBlockStore implements BlockStore {
  /** Absolute. */
  readonly path: string
  #sizeBytes = 0
  #handle: FileHandle | undefined

  /** @param path of the file; a relative one starts where the process runs. */
  constructor(path: string) {
    this.path = resolve(path)
  }

  get sizeBytes(): number {
    return this.#sizeBytes
  }

  /** @throws `ATP_USB_FILE` for what cannot be opened for reading and writing. */
  async open(): Promise<void> {
    try {
      this.#handle = await open(this.path, 'r+')
      this.#sizeBytes = (await this.#handle.stat()).size
    } catch (cause) {
      throw configError('ATP_USB_FILE', `${this.path} cannot be the content of a USB disk`, {
        cause,
        context: { path: this.path },
        remedy: 'give a file that can be read and written',
      })
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle
    this.#handle = undefined
    await handle?.close()
  }

  async read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(lengthBytes)
    for (let done = 0; done < lengthBytes;) {
      const { bytesRead } = await this.#open().read(bytes, done, lengthBytes - done, offsetBytes + done)
      if (bytesRead === 0) throw configError('ATP_USB_FILE', `${this.path} is shorter than it was`)
      done += bytesRead
    }
    return bytes
  }

  async write(offsetBytes: number, bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      done += (await this.#open().write(bytes, done, bytes.length - done, offsetBytes + done)).bytesWritten
    }
  }

  async flush(): Promise<void> {
    await this.#open().datasync()
  }

  #open(): FileHandle {
    if (this.#handle) return this.#handle
    throw stateError('ATP_SPICE_USB_UNPLUGGED', `the disk of ${this.path} is not plugged in`)
  }
}
