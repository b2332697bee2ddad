import type { ResolvedVdi } from '../config/index.ts'
import { isAtpError, messageOf } from '../core/index.ts'
import { vdiOptionsOf } from '../runner/configured-vdi.ts'
import { VdiClient } from '../vdi/index.ts'
import type { Finding } from './finding.ts'

const TIMEOUT_MS = 15_000

/** The platform in a line: whether it lets us in, and what it shows. It tells nobody its version. */
export async function examineVdi(vdi: ResolvedVdi): Promise<Finding> {
  const what = 'VDI platform'
  let client: VdiClient | undefined
  try {
    client = new VdiClient({ ...vdiOptionsOf(vdi), timeoutMs: TIMEOUT_MS })
    const [hosts, templates] = await Promise.all([client.hosts.listAll(), client.models.listAll()])
    const detail = `${vdi.url} takes the login of ${vdi.username}; ${hosts.length} hosts, ${templates.length} templates`
    return { state: 'ok', what, detail }
  } catch (error) {
    const { code, remedy } = isAtpError(error) ? error : { code: undefined, remedy: undefined }
    const detail = messageOf(error).replace(/\n\s*→.*/s, '')
    return { state: 'bad', what, detail, ...(code && { code }), ...(remedy && { remedy }) }
  } finally {
    await client?.close()
  }
}
