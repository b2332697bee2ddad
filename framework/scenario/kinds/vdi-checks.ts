import { untilHolds } from '../expectation.ts'
import { defineStep, type StepKind } from '../step-kind.ts'
import { keyboardType } from './keyboard.ts'
import { POOL } from './vdi-pools.ts'

const POOL_PARAMS = { properties: { pool: POOL } }
const PARAM_ALIASES = { pool_id: 'pool' }

const verifyAllDomainsRunning = defineStep({
  action: 'verify.all_domains_running',
  aliases: ['verify_all_domains_running'],
  summary: 'Waits until a desk pool has VMs and all of them run; an empty pool fails',
  params: POOL_PARAMS,
  paramAliases: PARAM_ALIASES,
  needs: ['platform'],
  passive: true,
  async run(context, params) {
    const { platform, call } = context
    const pool = await platform.pool(params['pool'] as string | undefined)
    let count = 0
    await untilHolds(context, `all VMs of ${pool.name} run`, async (signal) => {
      const vms = await platform.service.poolVms(pool.id, { ...call, signal })
      count = vms.length
      if (count === 0) return 'it has no VMs'
      const others = vms.filter(({ status }) => status !== RUNNING)
      return others.length === 0
        ? undefined
        : others.map(({ name, status }) => `${name} has status ${status}`).join(', ')
    })
    return { note: `${count} VMs of ${pool.name} run`, output: count }
  },
})

const verifyDeskPoolCreated = defineStep({
  action: 'verify.desk_pool_created',
  aliases: ['verify_desk_pool_created'],
  summary: 'Waits until a desk pool is there with all its VMs',
  params: POOL_PARAMS,
  paramAliases: PARAM_ALIASES,
  needs: ['platform'],
  passive: true,
  async run(context, params) {
    const { platform, call } = context
    const named = params['pool'] as string | undefined
    // The current pool is known to exist; one that is named may still be in the making.
    const key = named ?? (await platform.pool()).id
    let note = ''
    await untilHolds(context, `desk pool ${key} is created`, async (signal) => {
      const pool = await platform.service.pool(key, { ...call, signal })
      const vms = await platform.service.poolVms(pool.id, { ...call, signal })
      note = `${pool.name} has ${vms.length} VMs`
      platform.use(pool)
      const amount = pool['amount']
      return vms.length > 0 && (typeof amount !== 'number' || vms.length === amount)
        ? undefined
        : `it has ${vms.length} of ${String(amount ?? 'its')} VMs`
    })
    return { note }
  },
})

const sendTextToAll: StepKind = {
  ...keyboardType,
  action: 'keyboard.send_text_to_all',
  aliases: ['send_keyboard_to_all'],
  summary: 'Types text into every VM of a desk pool, which become the current set',
  params: { ...keyboardType.params, properties: { ...keyboardType.params.properties, pool: POOL } },
  paramAliases: PARAM_ALIASES,
  needs: ['vm', 'platform'],
  async prepare({ platform }, params) {
    await platform.useVmsOf(await platform.pool(params['pool'] as string | undefined))
  },
}

/** The platform's number of a VM that runs. */
const RUNNING = 1

/** Steps that ask about desk pools, or type into all their VMs. */
export const vdiCheckKinds: readonly StepKind[] = [sendTextToAll, verifyAllDomainsRunning, verifyDeskPoolCreated]
