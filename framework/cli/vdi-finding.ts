import type { ResolvedVdi } from '../config/index.ts'
import { isAtpError, messageOf } from '../core/index.ts'
import { vdiOptionsOf } from '../runner/configured-vdi.ts'
import { standInPlatform } from '../runner/used-platform.ts'
import { VdiClient, type VdiClientOptions } from '../vdi/index.ts'
import { keptPlatform } from '../../lab/platform/process.ts'
import type { Finding } from './finding.ts'

const TIMEOUT_MS = 15_000
const WHAT = 'VDI platform'

/** The platform in a line: whether it lets us in, and what it shows. It tells nobody its version. */
export async function examineVdi(vdi: ResolvedVdi | 'lab'): Promise<Finding> {
  if (vdi !== 'lab') return examine(() => vdiOptionsOf(vdi))
  const kept = await keptPlatform()
  if (kept) return examine(() => standInPlatform(kept.access).client)
  return { state: 'ok', what: WHAT, detail: "the lab's stand-in; starts with the first test of a run that needs it" }
}

async function examine(options: () => VdiClientOptions): Promise<Finding> {
  const what = WHAT
  let client: VdiClient | undefined
  try {
    const { baseUrl, username, ...more } = options()
    client = new VdiClient({ baseUrl, username, ...more, timeoutMs: TIMEOUT_MS })
    const [hosts, templates] = await Promise.all([client.hosts.listAll(), client.models.listAll()])
    const detail = `${baseUrl} takes the login of ${username}; ${hosts.length} hosts, ${templates.length} templates`
    return { state: 'ok', what, detail }
  } catch (error) {
    const { code, remedy } = isAtpError(error) ? error : { code: undefined, remedy: undefined }
    const detail = messageOf(error).replace(/\n\s*→.*/s, '')
    return { state: 'bad', what, detail, ...(code && { code }), ...(remedy && { remedy }) }
  } finally {
    await client?.close()
  }
}
