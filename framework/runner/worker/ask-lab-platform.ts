import { connect } from 'node:net'
import { connectError, messageOf, withDeadline, type CallOptions } from '../../core/index.ts'
import { encodeLine, fromWireError, LineDecoder } from '../../leases/codec.ts'
import type { PlatformAccess } from '../../../lab/platform/process.ts'
import type { PlatformDoor } from '../lab-platform.ts'

/**
 * The run's stand-in platform, which starts when the first worker asks.
 *
 * @throws what starting it throws, `ATP_LAB_PLATFORM_START` when the run is over, `ATP_TIMEOUT`, `ATP_INTERRUPTED`
 */
export async function askLabPlatform({ path, key }: PlatformDoor, options: CallOptions = {}): Promise<PlatformAccess> {
  const socket = connect(path)
  const gone = (why: string) =>
    connectError('ATP_LAB_PLATFORM_START', `the stand-in platform of this run cannot be asked for: ${why}`)
  try {
    const decoder = new LineDecoder()
    const answer = new Promise<PlatformAccess>((resolve, reject) => {
      socket.on('error', (error) => reject(gone(messageOf(error))))
      socket.on('close', () => reject(gone('the run is over')))
      socket.on('data', (chunk: Buffer) => {
        try {
          for (const message of decoder.push(chunk)) {
            if ('error' in message) reject(fromWireError(message['error']))
            else resolve(message['ok'] as PlatformAccess)
          }
        } catch (error) {
          reject(error as Error)
        }
      })
    })
    // Nobody looks at it any more after the deadline.
    answer.catch(() => {})
    socket.write(encodeLine({ key }))
    return await withDeadline('starting the stand-in platform', options, () => answer)
  } finally {
    socket.destroy()
  }
}
