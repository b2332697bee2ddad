/** A clean-up that a broker can do: removes a file, or fails where there is none. */
import { unlink } from 'node:fs/promises'

export async function cleanUp(path: unknown): Promise<void> {
  await unlink(path as string)
}
