/** What `atp host check` does. */
import { unknownHost } from '../config/unknown-host.ts'
import { loadConfig } from '../config/index.ts'
import { configError } from '../core/index.ts'
import { EXIT } from '../runner/exit-code.ts'
import { printFinding } from './finding.ts'
import { checkHost } from './host-check/check-host.ts'
import type { HostReport } from './host-check/report.ts'
import { allHosts, type KnownHost } from './known-hosts.ts'

/** Examines hosts, all at the same time, and prints a block for each in the order they were asked for. */
export async function check(
  ids: string[],
  options: { config?: string; json?: boolean; timeout?: number },
): Promise<void> {
  const config = await loadConfig(process.cwd(), options.config)
  const hosts = chosen(await allHosts(config), ids, config.file ?? config.hostsFile)
  let done = 0
  const progress = (text: string) => void process.stderr.write(`host: ${text}\n`)
  progress(`examining ${hosts.map(({ id }) => id).join(', ')}`)
  const reports = hosts.map(async (host) => {
    const report = await checkHost(host, { timeoutMs: options.timeout })
    progress(`${host.id}: ${report.state} (${++done} of ${hosts.length})`)
    return report
  })
  const all = await Promise.all(reports)
  process.stdout.write(options.json ? `${JSON.stringify(all)}\n` : all.map(printReport).join('\n'))
  if (all.some(({ state }) => state === 'bad')) process.exitCode = EXIT.infrastructure
}

function chosen(hosts: KnownHost[], ids: string[], place: string): KnownHost[] {
  if (ids.length === 0) {
    const some = hosts.filter(({ up }) => up !== false)
    if (some.length > 0) return some
    throw configError('ATP_USAGE', `there is no host to examine in ${place}`, {
      remedy: 'store one with "npx atp host add", or start the lab with "npx atp lab up"',
    })
  }
  return [...new Set(ids)].map((id) => {
    const host = hosts.find((one) => one.id === id)
    if (host) return host
    throw unknownHost(
      id,
      place,
      hosts.map((one) => one.id),
    )
  })
}

/** A host's block of text. */
export function printReport({ id, uri, origin, findings }: HostReport): string {
  return `${id}  ${uri}  (${origin})\n${findings.map((finding) => printFinding(finding, '  ')).join('')}`
}
