import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { interruptedError } from '../../framework/core/index.ts'
import { stopBroker, type BrokerStart } from '../../framework/leases/index.ts'
import { labDown, labPaths, labUp, type LabConfig } from '../../lab/index.ts'
import { ensureImage } from '../../lab/image/build.ts'

/** A lab that belongs to one benchmark. */
export interface OwnLab {
  home: string
  config: LabConfig
  /** State directory of its lease broker; nothing runs there yet. */
  brokerDir: string
  /** How a broker is started there. */
  brokerStart: BrokerStart
  /** Aborted when the user wants the benchmark to end. */
  signal: AbortSignal
}

/**
 * Runs `work` in a lab of its own, so that nobody's VMs are in the way; only the guest image is shared. The lab is
 * gone afterwards, also after Ctrl-C: the work is asked to end by its signal then.
 */
export async function withOwnLab<T>(
  config: LabConfig,
  log: (text: string) => void,
  work: (lab: OwnLab) => Promise<T>,
): Promise<T> {
  const shared = labPaths()
  const stop = new AbortController()
  const onSignal = (signal: string) => stop.abort(interruptedError('ATP_INTERRUPTED', `the benchmark got ${signal}`))
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, onSignal)
  const before = process.env['ATP_HOME']
  let home: string | undefined
  try {
    await ensureImage(shared, { onProgress: log, signal: stop.signal })
    home = mkdtempSync('/tmp/atp-bench-')
    process.env['ATP_HOME'] = home
    symlinkSync(shared.images, join(home, 'images'))
    const brokerDir = join(home, 'broker')
    mkdirSync(brokerDir, { mode: 0o700 })
    await labUp({ config, onProgress: log, signal: stop.signal })
    const provider = pathToFileURL(resolve(import.meta.dirname, '../../lab/index.ts')).href
    return await work({ home, config, brokerDir, brokerStart: { provider, config }, signal: stop.signal })
  } finally {
    if (home !== undefined) {
      await stopBroker(join(home, 'broker'))
      await labDown({ onProgress: log })
      rmSync(home, { recursive: true, force: true })
    }
    if (before === undefined) delete process.env['ATP_HOME']
    else process.env['ATP_HOME'] = before
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, onSignal)
  }
}
