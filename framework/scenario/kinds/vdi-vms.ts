import pLimit from 'p-limit'
import { configError } from '../../core/index.ts'
import { COUNT, FLAG, NAME } from '../model/index.ts'
import type { StepKind } from '../step-kind.ts'
import type { FreezeType, SnapshotVerb, VmVerb } from '../vdi-service.ts'
import { platformStep, platformVmsStep, vmsOutcome } from './platform-step.ts'
import { POOL } from './vdi-pools.ts'

const PER_DESKTOP_MS = 60_000
const DEFAULT_CONCURRENCY = 10
const FREEZE_TYPES = ['each_boot', 'daily', 'weekly', 'monthly'] as const satisfies FreezeType[]

const lifeCycle: [name: string, verb: VmVerb, summary: string][] = [
  ['start_domain', 'start', 'Starts VMs and waits until they run; without "on" all of the current pool'],
  ['shutdown_domain', 'shutdown', 'Shuts VMs down and waits until they are off'],
  ['force_shutdown_domain', 'force_shutdown', 'Switches VMs off'],
  ['reboot_domain', 'reboot', 'Reboots VMs and waits until they run again'],
  ['suspend_domain', 'suspend', 'Pauses VMs'],
  ['resume_domain', 'resume', 'Lets paused VMs go on'],
  ['sleep_domain', 'sleep', 'Hibernates VMs'],
  ['wake_domain', 'wake', 'Wakes hibernated VMs'],
  ['unfreeze_domain', 'unfreeze', 'Takes the restore point off VMs'],
  ['rebase_domain', 'rebase', 'Puts linked clones back to their template'],
  ['delete_domain', 'delete', 'Deletes VMs for good'],
  ['unbind_user', 'unbind_user', 'Takes the users off VMs'],
]
const lifeCycleKinds = lifeCycle.map(([name, verb, summary]) =>
  platformVmsStep(name, { summary }, ({ platform, call }, ids) => platform.service.changeVms(verb, ids, call)),
)

const createDomain = platformStep('create_domain', {
  summary: 'Makes a VM, which becomes the current set: a linked clone of a template, or an empty machine with memory',
  params: {
    properties: {
      name: { ...NAME, description: 'Name of the VM' },
      template: { ...NAME, description: 'Id or name of a template' },
      cpu: { ...COUNT, description: "Virtual processors; default the template's, or 1" },
      memory: { ...COUNT, description: "Memory in MB; default the template's" },
    },
    required: ['name'],
    requireOne: ['template', 'memory'],
  },
  async run({ platform, call }, { name, template, cpu, memory }) {
    const wish = {
      name: name as string,
      ...(template === undefined ? {} : { template: template as string }),
      ...(cpu === undefined ? {} : { cpu: cpu as number }),
      ...(memory === undefined ? {} : { memoryMb: memory as number }),
    }
    const vm = await platform.service.createVm(wish, call)
    platform.useVm(vm)
    return vmsOutcome([vm])
  },
})

const startAllDomains = platformStep('start_all_domains', {
  summary: 'Starts all VMs of a desk pool: all at once, at most concurrency at a time, or one by one',
  params: {
    properties: {
      pool: POOL,
      concurrent: { ...FLAG, description: 'false: one by one; true: 10 at a time unless concurrency says otherwise' },
      concurrency: { ...COUNT, description: 'How many VMs start at a time' },
    },
  },
  ownDurationMs: () => PER_DESKTOP_MS * DEFAULT_CONCURRENCY,
  async run({ platform, call }, { pool: named, concurrent, concurrency }) {
    const vms = await platform.useVmsOf(await platform.pool(named as string | undefined))
    const atATime =
      concurrent === false
        ? 1
        : ((concurrency as number | undefined) ?? (concurrent ? DEFAULT_CONCURRENCY : vms.length))
    const limit = pLimit(atATime)
    const starts = vms.map(({ id }) => limit(() => platform.service.changeVms('start', [id], call)))
    const failed = (await Promise.allSettled(starts)).find((start) => start.status === 'rejected')
    if (failed) throw failed.reason
    return vmsOutcome(vms)
  },
})

const freezeDomain = platformVmsStep(
  'freeze_domain',
  {
    summary: 'Gives VMs a restore point that they go back to',
    params: {
      properties: { freeze_type: { enum: [...FREEZE_TYPES, 1, 2, 3, 4], description: 'When; default each_boot' } },
    },
  },
  ({ platform, call }, ids, { freeze_type: type = 'each_boot' }) => {
    const word = typeof type === 'number' ? FREEZE_TYPES[type - 1] : type
    return platform.service.freezeVms(ids, word as FreezeType, call)
  },
)

const bindUser = platformVmsStep(
  'bind_user',
  {
    summary: 'Binds a user to VMs',
    params: { properties: { user_id: { ...NAME, description: 'Account of the user' } }, required: ['user_id'] },
  },
  ({ platform, call }, ids, { user_id: user }) => platform.service.bindUser(user as string, ids, call),
)

const setCpuMemory = platformVmsStep(
  'set_cpu_memory',
  {
    summary: 'Changes the processors and the memory of VMs that are off',
    params: {
      properties: {
        cpu: { ...COUNT, description: 'Virtual processors' },
        memory: { ...COUNT, description: 'Memory in MB' },
      },
      requireOne: ['cpu', 'memory'],
    },
  },
  ({ platform, call }, ids, { cpu, memory }) => {
    const to = { ...(cpu ? { cpu: cpu as number } : {}), ...(memory ? { memoryMb: memory as number } : {}) }
    return platform.service.setCpuMemory(ids, to, call)
  },
)

const DISK = { ...NAME, description: 'Id or name of a disk' }
const diskKinds = [
  platformVmsStep(
    'add_disk',
    {
      summary: 'Gives each VM a new disk',
      params: { properties: { size: { ...COUNT, description: 'Size in GB' } }, required: ['size'] },
    },
    ({ platform, call }, ids, { size }) => platform.service.addDisk(ids, size as number, call),
  ),
  platformVmsStep(
    'expand_disk',
    {
      summary: 'Makes a disk larger',
      params: { properties: { disk: DISK, size: { ...COUNT, description: 'GB to add' } }, required: ['disk', 'size'] },
    },
    ({ platform, call }, ids, { disk, size }) =>
      platform.service.expandDisk(only(ids, 'expand_disk'), disk as string, size as number, call),
  ),
  platformVmsStep(
    'remove_disk',
    { summary: 'Deletes a disk of a VM', params: { properties: { disk: DISK }, required: ['disk'] } },
    ({ platform, call }, ids, { disk }) => platform.service.removeDisk(only(ids, 'remove_disk'), disk as string, call),
  ),
]

const snapshots: [verb: SnapshotVerb, summary: string][] = [
  ['create', 'Takes a snapshot of each VM'],
  ['restore', 'Puts each VM back to its snapshot of this name'],
  ['delete', 'Deletes the snapshot of this name of each VM'],
]
const snapshotKinds = snapshots.map(([verb, summary]) =>
  platformVmsStep(
    `snapshot_${verb}`,
    { summary, params: { properties: { name: { ...NAME, description: 'Name of the snapshot' } }, required: ['name'] } },
    async ({ platform, call }, ids, { name }) => {
      for (const id of ids) await platform.service.snapshot(verb, id, name as string, call)
    },
  ),
)

/** Steps that act on VMs of the platform. */
export const vdiVmKinds: readonly StepKind[] = [
  createDomain,
  ...lifeCycleKinds,
  startAllDomains,
  freezeDomain,
  bindUser,
  setCpuMemory,
  ...diskKinds,
  ...snapshotKinds,
]

function only(ids: readonly string[], step: string): string {
  if (ids.length === 1) return ids[0] as string
  throw configError('ATP_SCENARIO_NO_TARGET', `vdi.${step} acts on a disk of one VM, and ${ids.length} are meant`, {
    remedy: 'name the VM with "on"',
  })
}
