import { defineStep, type StepContext, type StepKind, type StepOutcome, type StepParams } from '../step-kind.ts'
import type { PlatformVm } from '../vdi-service.ts'

/** Added to a step's limit: the platform works longer than a guest answers. */
const PLATFORM_MS = 120_000

type PlatformKind = Pick<StepKind, 'summary' | 'run'> & Partial<StepKind>

/** `vdi.<verb>`, also written `<verb>` and `vdi_<verb>`. */
export function platformStep(verb: string, kind: PlatformKind): StepKind {
  return defineStep({
    action: `vdi.${verb}`,
    aliases: [verb, `vdi_${verb}`],
    needs: ['platform'],
    ownDurationMs: () => PLATFORM_MS,
    ...kind,
    paramAliases: { pool_id: 'pool', template_id: 'template', max_concurrency: 'concurrency', ...kind.paramAliases },
  })
}

/** A step that does something to the VMs it names, or to all of the current pool, together. */
export function platformVmsStep(
  verb: string,
  kind: Omit<PlatformKind, 'run'>,
  work: (context: StepContext, ids: string[], params: StepParams) => Promise<void>,
): StepKind {
  return platformStep(verb, {
    ...kind,
    async run(context, params) {
      const vms = await context.platform.vms()
      await work(
        context,
        vms.map(({ id }) => id),
        params,
      )
      return vmsOutcome(vms)
    },
  })
}

/** The VMs of a step: one as such, several as a list. */
export function vmsOutcome(vms: readonly PlatformVm[]): StepOutcome {
  return { output: vms.length === 1 ? vms[0] : vms, note: vms.map(({ name }) => name).join(', ') }
}
