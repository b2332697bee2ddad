import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pollUntil } from '../../framework/core/index.ts'
import type { DesktopVm } from '../../framework/desktop/index.ts'
import { checkLoad, LoadTally, openLoad, runLoad } from './mixed-load.ts'

/** Exists once all specs have their VMs. */
export const GO_FILE = 'go'
const MONITOR_EVERY_MS = 200

/**
 * The body of a spec: says that it has its VM, waits for all the others, keeps the VM busy, and writes what came of
 * it to `<folder>/<VM>.json`.
 *
 * @throws with the first error of the load.
 * @public imported by the specs that `held-in-specs.ts` writes
 */
export async function holdInSpec(
  vm: DesktopVm,
  { folder, seconds, waitMs }: { folder: string; seconds: number; waitMs: number },
): Promise<void> {
  const load = await openLoad(vm)
  writeFileSync(join(folder, `${vm.name}.ready`), '')
  await pollUntil('the other specs', { timeoutMs: waitMs }, async () => existsSync(join(folder, GO_FILE)) || undefined)
  const tally = new LoadTally()
  const started = performance.now()
  await runLoad(load, tally, { until: AbortSignal.timeout(seconds * 1000), monitorEveryMs: MONITOR_EVERY_MS })
  await checkLoad(load)
  const { calls, errors, firstErrors } = tally
  const result = { calls, errors, firstErrors, seconds: (performance.now() - started) / 1000 }
  writeFileSync(join(folder, `${vm.name}.json`), JSON.stringify(result))
  if (errors > 0) throw new Error(`${errors} errors, the first: ${firstErrors[0]}`)
}
