import { withDeadline, type CallOptions } from '../../core/index.ts'
import { checkedForShell, sshAddress } from '../../hosts/ssh-proxy.ts'
import type { LibvirtUri } from '../../protocols/libvirt/index.ts'
import { connectSsh, SSH_READY } from '../../transport/index.ts'
import type { ByteStream } from '../../wire/index.ts'

const HELPER = 'virt-ssh-helper'
const QUESTION = `sh -c 'echo ${SSH_READY}; command -v ${HELPER}'`
const ANSWER_MAX_BYTES = 4096

/**
 * What passes bytes on at the far end of ssh. The URI says so, or the host is asked.
 *
 * @returns undefined where it cannot be asked; the connection fails then and says why.
 */
export async function sshHelper(uri: LibvirtUri, bounds: CallOptions): Promise<string | undefined> {
  const { proxy, path, netcat = 'nc', socketPath, mode } = uri
  if (proxy === 'netcat' || uri.netcat !== undefined || socketPath !== undefined || mode !== 'auto') return netcat
  if (proxy === 'native' || path === '/session') return HELPER
  let stream: ByteStream | undefined
  try {
    const asked = await connectSsh(sshAddress(checkedForShell(uri), process.env), QUESTION, bounds)
    stream = asked
    return (await withDeadline('asking for virt-ssh-helper', bounds, () => textOf(asked))).includes(HELPER)
      ? HELPER
      : netcat
  } catch {
    return undefined
  } finally {
    stream?.destroy()
  }
}

/** Everything a stream brings until its end. How it ends does not matter: a shell that finds nothing says so with 1. */
function textOf(stream: ByteStream): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    stream.start({
      onData: (chunk) => {
        text += Buffer.from(chunk).toString('utf8')
        if (text.length > ANSWER_MAX_BYTES) stream.destroy()
      },
      onClose: () => resolve(text),
    })
  })
}
