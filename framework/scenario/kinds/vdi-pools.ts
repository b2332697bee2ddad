import { COUNT, NAME } from '../model/index.ts'
import type { StepKind } from '../step-kind.ts'
import type { PoolVerb } from '../vdi-service.ts'
import { platformStep } from './platform-step.ts'

const PER_DESKTOP_MS = 60_000
/** Id or name of a desk pool. */
export const POOL = { ...NAME, description: 'Id or name of a desk pool; default the current one' }
const TEMPLATE = { ...NAME, description: 'Id or name of a template' }

const createDeskPool = platformStep('create_desk_pool', {
  summary: 'Makes a desk pool from a template and waits for its VMs; it is removed at the end of the test',
  params: {
    properties: {
      name: { ...NAME, description: 'Name of the pool' },
      count: { ...COUNT, description: 'How many desktops' },
      template: { ...TEMPLATE, description: 'Id or name of a template; default that of the configuration' },
    },
    required: ['name', 'count'],
  },
  ownDurationMs: ({ count }) => PER_DESKTOP_MS * Math.max(1, Number(count) || 1),
  async run({ platform, call }, { name, count, template }) {
    const wish = { name: name as string, count: count as number }
    const pool = await platform.service.createPool(
      { ...wish, ...(template ? { template: template as string } : {}) },
      call,
    )
    platform.use(pool)
    return { output: pool, note: `${pool.name} with ${count} desktops` }
  },
})

const changes: [verb: PoolVerb, summary: string][] = [
  ['enable', 'Lets users into a desk pool'],
  ['disable', 'Keeps users out of a desk pool'],
  ['activate', 'Brings an archived desk pool back'],
  ['archive', 'Archives a desk pool'],
  ['delete', 'Deletes a desk pool with its VMs'],
]
const changeDeskPool = changes.map(([verb, summary]) =>
  platformStep(`${verb}_desk_pool`, {
    summary,
    params: { properties: { pool: POOL } },
    async run({ platform, call }, params) {
      const pool = await platform.pool(params['pool'] as string | undefined)
      await platform.service.changePool(verb, pool.id, call)
      if (verb === 'delete') platform.forget(pool)
      return { note: pool.name }
    },
  }),
)

const getDeskPoolDomains = platformStep('get_desk_pool_domains', {
  summary: 'The VMs of a desk pool, in the order of their names',
  params: { properties: { pool: POOL } },
  passive: true,
  async run({ platform, call }, params) {
    const pool = await platform.pool(params['pool'] as string | undefined)
    const vms = await platform.service.poolVms(pool.id, call)
    return { output: vms, note: `${vms.length} VMs: ${vms.map(({ name }) => name).join(', ')}` }
  },
})

const switchModel = platformStep('switch_model', {
  summary: 'Switches the template of a desk pool and waits until the pool uses it',
  params: { properties: { pool: POOL, template: TEMPLATE }, required: ['template'] },
  async run({ platform, call }, { pool: named, template }) {
    const pool = await platform.pool(named as string | undefined)
    await platform.service.switchTemplate(pool.id, template as string, call)
    return { note: `${pool.name} uses ${template as string}` }
  },
})

/** Steps that act on desk pools. */
export const vdiPoolKinds: readonly StepKind[] = [createDeskPool, ...changeDeskPool, getDeskPoolDomains, switchModel]
