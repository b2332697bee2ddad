/**
 * A verifier for files, as an example of a plug-in: `atp-verifier --plugin file.mjs`. It needs nothing but Node.
 *
 * Event: `{ "type": "file", "action": "exists", "metadata": { "path": "/tmp/a", "contains": "text" } }`; action `absent`
 * for a file that is to go away. It waits until that is so, or the event's time is over. The content of the file stays
 * in the guest: the result tells its size only.
 */
import { readFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'

const LOOK_MS = 100

export default {
  verifierType: 'file',

  async verify({ action, metadata }, signal) {
    const { path, contains = '' } = metadata
    if (typeof path !== 'string' || typeof contains !== 'string') throw new Error('path and contains are texts')
    if (action !== 'exists' && action !== 'absent')
      throw new Error(`a file event is "exists" or "absent", not "${action}"`)
    for (;;) {
      const content = await contentOf(path)
      const verified = action === 'absent' ? content === undefined : content?.includes(contains) === true
      if (verified) return { verified, details: { path, size_bytes: content?.length ?? 0 } }
      // Rejects when the time is over, which becomes the result.
      await pause(LOOK_MS, undefined, { signal })
    }
  },
}

async function contentOf(path) {
  try {
    return await readFile(path)
  } catch (error) {
    if (error.code === 'ENOENT') return undefined
    throw error
  }
}
