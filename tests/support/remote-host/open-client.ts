import type { CallOptions } from '../../../framework/core/index.ts'
import { dial, type HostInfo } from '../../../framework/hosts/index.ts'
import { LibvirtClient, parseLibvirtUri, type OpenOptions } from '../../../framework/protocols/libvirt/index.ts'

/** Opens a session with a host on the way its URI names, as the framework does. */
export async function openClient(
  { uri, access }: HostInfo,
  options: CallOptions & Partial<OpenOptions> = {},
): Promise<LibvirtClient> {
  const parsed = parseLibvirtUri(uri, { allow: access?.allow })
  const { signal, timeoutMs } = options
  const stream = await dial(parsed, { access, signal, timeoutMs })
  return LibvirtClient.open(stream, { path: parsed.path, sasl: access?.sasl, ...options })
}
