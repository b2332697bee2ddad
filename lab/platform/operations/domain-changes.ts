import { assertName } from '../machines.ts'
import { operation } from '../operation.ts'
import { refuse } from '../refusal.ts'
import { VM_STATUS, type VmRow } from '../rows.ts'
import { array, int, object, oneOf, required, string } from '../schema.ts'
import type { PlatformState } from '../state.ts'
import { idsOf } from './domain-verbs.ts'

const VOLUME = object('VolumeDto', {
  busType: string,
  id: string,
  isStartDisk: int,
  readBytesSec: string,
  readIopsSec: string,
  writeBytesSec: string,
  writeIopsSec: string,
})
const NETWORK = object('NetworkDto', {
  inAverage: int,
  inBurst: int,
  inPeak: int,
  outAverage: int,
  outBurst: int,
  outPeak: int,
  ovsId: string,
  vlanId: string,
})
const ISO = object('IsoDto', { isoPath: string, storagePoolId: string })

/** What a machine of the lab may have: enough for its guest, little enough for one test machine. */
const MEMORY_MB = { least: 96, most: 4096 }
const MOST_CPUS = 8

function assertSize(memory: number | undefined, cpu: number | undefined): void {
  if (memory !== undefined && (memory < MEMORY_MB.least || memory > MEMORY_MB.most)) {
    throw refuse('invalidValue', `memory is ${memory} MB; it must be ${MEMORY_MB.least} to ${MEMORY_MB.most}`)
  }
  if (cpu !== undefined && (cpu < 1 || cpu > MOST_CPUS)) {
    throw refuse('invalidValue', `cpu is ${cpu}; it must be 1 to ${MOST_CPUS}`)
  }
}

async function resize(state: PlatformState, row: VmRow, memory: number | undefined, cpu: number | undefined) {
  if (memory === undefined && cpu === undefined) return
  if (row.status !== VM_STATUS.off) throw refuse('wrongState', `"${row.name}" must be off to change memory or CPUs`)
  const before = { memory: row.memory, cpu: row.cpu, cores: row.cores }
  await state.machines.doNow('domain.resize', row, VM_STATUS.off, async (signal) => {
    state.vms.change(row.id, { memory: memory ?? row.memory, cpu: cpu ?? row.cpu, cores: cpu ?? row.cores })
    try {
      await state.world.change(state.machines.worldVm(row), { signal })
    } catch (error) {
      state.vms.change(row.id, before)
      throw error
    }
  })
}

/** The settings of a VM that others are made like. */
export function likeTemplate(template: VmRow, name: string) {
  const { id, hostId: _h, libvirtName: _l, status: _s, createTime: _c, updateTime: _u, ticket: _t, ...like } = template
  return { ...like, name, isModel: 0 as const, motherId: id, desktopPoolId: undefined, userId: undefined, serials: [] }
}

export const DOMAIN_CHANGE_OPERATIONS = [
  operation({
    name: 'domain.create',
    method: 'POST',
    path: '/ocloud/v1/domain',
    body: object('DomainCreateDto', {
      autoJoinDomain: required(int),
      bootloader: required(oneOf('bios', 'uefi')),
      cores: required(int),
      cpu: int,
      gpuType: string,
      graphicsCardNum: required(int),
      isoList: array(ISO),
      mainBoard: required(string),
      memory: int,
      name: string,
      networkList: array(NETWORK),
      osType: string,
      poolId: string,
      remark: string,
      sockets: required(int),
      soundcardType: string,
      threads: required(int),
      vgpuType: required(string),
      vmcId: string,
      volumeList: array(VOLUME),
    }),
    envelope: 'R',
    answer: object('DomainCreateVO', { uuid: string }),
    async handle({ state, body, signal }) {
      const [profile] = state.world.profiles()
      if (!profile) throw refuse('unsupported', 'there is no machine to make VMs from')
      // Neither document marks these as required, though nothing can be made without them.
      if (body.name === undefined) throw refuse('missingField', 'name is missing')
      if (body.isoList?.length) throw refuse('unsupported', 'ISO images are not modelled')
      if (body.networkList?.length) throw refuse('unsupported', 'networks are not modelled')
      if (body.bootloader === 'uefi') throw refuse('unsupported', 'the hosts have no UEFI firmware')
      if (body.poolId !== undefined && body.poolId !== state.resourcePoolId) {
        throw refuse('noSuch', `there is no resource pool ${body.poolId}`)
      }
      const cpu = body.cpu ?? body.sockets * body.cores * body.threads
      const memory = body.memory ?? profile.memoryMiB
      assertSize(memory, cpu)
      const volumes = (body.volumeList ?? []).map(({ id = '' }) => {
        const volume = state.volumes.get(id)
        if (!volume) throw refuse('noSuch', `there is no volume ${id}`)
        if (volume.domainId !== undefined) throw refuse('wrongState', `volume "${volume.name}" is in use`)
        return volume
      })
      const { name, cores, sockets, threads, graphicsCardNum, vgpuType, autoJoinDomain, bootloader, remark } = body
      const row = await state.machines.make(
        {
          name,
          cpu,
          cores,
          sockets,
          threads,
          memory,
          graphicsCardNum,
          vgpuType,
          autoJoinDomain,
          bootloader,
          mainboard: body.mainBoard,
          profile: profile.name,
          osType: body.osType ?? 'linux',
          poolId: state.resourcePoolId,
          isModel: 0,
          isRecycle: 0,
          freezeType: 0,
          settings: {
            ...(remark !== undefined && { remark }),
            ...(body.soundcardType !== undefined && { soundcardType: body.soundcardType }),
          },
          serials: [],
        },
        undefined,
        { signal },
      )
      if (volumes.length === 0) return { uuid: row.id }
      for (const volume of volumes) state.volumes.change(volume.id, { domainId: row.id })
      try {
        await state.machines.doNow('domain.create', row, VM_STATUS.off, (signal) =>
          state.world.change(state.machines.worldVm(row), { signal }),
        )
      } catch (error) {
        await state.machines.remove(row)
        throw error
      }
      return { uuid: row.id }
    },
  }),
  operation({
    name: 'domain.update',
    method: 'PATCH',
    path: '/ocloud/v1/domain/{id}',
    body: object('DomainUpdateDto', {
      autoJoinDomain: int,
      command: string,
      cores: int,
      cpu: int,
      disableAlpha: oneOf(0, 1),
      domainFake: oneOf(0, 1),
      gpuType: string,
      graphicsCardNum: int,
      hostBiosEnable: oneOf(0, 1),
      hostModelEnable: oneOf(0, 1),
      keepAlive: oneOf(0, 1),
      memory: int,
      mouseMode: oneOf(0, 1),
      name: string,
      nestedVirtual: oneOf(0, 1),
      osType: string,
      remark: string,
      soundcardType: string,
      threads: int,
      vgpuType: string,
    }),
    envelope: 'B',
    async handle({ state, path, body }) {
      const row = state.vm(path['id'] as string)
      const { name, cpu, memory, cores, threads, osType, vgpuType, graphicsCardNum, autoJoinDomain, ...settings } = body
      if (name === undefined) throw refuse('missingField', 'name is missing')
      assertSize(memory, cpu)
      if (name !== row.name) await rename(state, row, name)
      const wanted = { memory: memory === row.memory ? undefined : memory, cpu: cpu === row.cpu ? undefined : cpu }
      await resize(state, row, wanted.memory, wanted.cpu)
      const rest = { cores, threads, osType, vgpuType, graphicsCardNum, autoJoinDomain }
      state.vms.change(row.id, {
        ...Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined)),
        settings: { ...row.settings, ...settings } as VmRow['settings'],
        updateTime: state.clock.now(),
      })
    },
  }),
  operation({
    name: 'domain.memCpu',
    method: 'PATCH',
    path: '/ocloud/v1/domain/mem-cpu',
    body: object('DomainUpdateMemCpuDto', { cpu: int, listId: array(string), memory: int }),
    envelope: 'B',
    async handle({ state, body }) {
      const rows = idsOf(body.listId).map((id) => state.vm(id))
      if (body.memory === undefined && body.cpu === undefined) throw refuse('missingField', 'memory or cpu is missing')
      assertSize(body.memory, body.cpu)
      for (const row of rows) {
        if (row.status !== VM_STATUS.off)
          throw refuse('wrongState', `"${row.name}" must be off to change memory or CPUs`)
      }
      for (const row of rows) await resize(state, row, body.memory, body.cpu)
    },
  }),
  operation({
    name: 'domain.clone',
    method: 'POST',
    path: '/ocloud/v1/domain/{id}/clone',
    body: object('DomainCloneDto', { name: string, number: int, storagePoolId: string, templateClone: oneOf(0, 1) }),
    envelope: 'R',
    answer: object('DomainCloneVO', { cloneUuid: string, eventId: string }),
    async handle({ state, path, body }) {
      const id = path['id'] as string
      const source = body.templateClone === 1 ? state.template(id) : state.vm(id)
      if (source.status !== VM_STATUS.off) throw refuse('wrongState', `"${source.name}" must be off to clone it`)
      if (body.number !== undefined && body.number !== 1)
        throw refuse('unsupported', 'only one clone at a time is modelled')
      const name = body.name ?? `${source.name}-clone`
      const like = { ...likeTemplate(source, name), motherId: undefined, cloneType: '0' as const }
      const row = await state.machines.make(like)
      const { event } = state.machines.work('clone', 'domain.clone', row, VM_STATUS.off, async () => {})
      return { cloneUuid: row.id, eventId: event.id }
    },
  }),
  operation({
    name: 'domain.toModel',
    method: 'POST',
    path: '/ocloud/v1/domain/{id}/to-model',
    envelope: 'B',
    handle({ state, path }) {
      const row = state.vm(path['id'] as string)
      if (row.status !== VM_STATUS.off) throw refuse('wrongState', `"${row.name}" must be off to become a template`)
      if (row.desktopPoolId !== undefined) throw refuse('wrongState', `"${row.name}" belongs to a desk pool`)
      state.vms.change(row.id, { isModel: 1, userId: undefined })
    },
  }),
]

async function rename(state: PlatformState, row: VmRow, name: string): Promise<void> {
  assertName(name)
  if (row.status !== VM_STATUS.off) throw refuse('wrongState', `"${row.name}" must be off to be renamed`)
  if (state.domains().some((vm) => vm.name === name)) throw refuse('nameTaken', `there is a VM "${name}" already`)
  if (state.behaviour.libvirtNames === 'own') {
    state.vms.change(row.id, { name })
    return
  }
  if (state.snapshots.all().some((snapshot) => snapshot.domainId === row.id)) {
    throw refuse('wrongState', `"${row.name}" has snapshots, which keep its name`)
  }
  await state.machines.doNow('domain.rename', row, VM_STATUS.off, (signal) =>
    state.machines.remake(row, { name, libvirtName: name }, { signal }),
  )
}
