import { randomUUID } from 'node:crypto'
import { contains, operation, pageOf } from '../operation.ts'
import { refuse } from '../refusal.ts'
import { VM_STATUS, type SnapshotRow, type VmStatus } from '../rows.ts'
import { datetime, int, object, page, PAGE, required, string, type ValueOf } from '../schema.ts'
import type { PlatformState } from '../state.ts'

const SNAPSHOT_VO = object('DomainSnapshotVO', {
  createTime: datetime,
  domainId: string,
  domainStatus: int,
  domainXml: string,
  id: string,
  isFreeze: int,
  isTerminal: int,
  name: string,
  path: string,
  snapXml: string,
})

const view = (row: SnapshotRow): ValueOf<typeof SNAPSHOT_VO> => ({ ...row, isFreeze: 0, isTerminal: 0 })

function snapshot(state: PlatformState, id: string): SnapshotRow {
  const row = state.snapshots.get(id)
  if (row) return row
  throw refuse('noSuch', `there is no snapshot ${id}`)
}

export const SNAPSHOT_OPERATIONS = [
  operation({
    name: 'snapshot.list',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/snapshot',
    query: { ...PAGE, keyword: string },
    envelope: 'R',
    answer: page(SNAPSHOT_VO),
    handle(call) {
      const { state, path, query } = call
      const { id } = state.vm(path['id'] as string)
      const rows = state.snapshots.all().filter((row) => row.domainId === id && contains(query.keyword, row.name))
      return pageOf(call, rows, view)
    },
  }),
  operation({
    name: 'snapshot.create',
    method: 'POST',
    path: '/ocloud/v1/domain/{id}/snapshot',
    body: object('SnapshotCreateDto', { name: required(string) }),
    envelope: 'R',
    answer: object('EventIdVO', { eventId: string }),
    async handle({ state, path, body, signal }) {
      const row = state.vm(path['id'] as string)
      const { status } = row
      if (status === VM_STATUS.asleep || status === VM_STATUS.busy) {
        throw refuse('wrongState', `"${row.name}" must be off, running or suspended for a snapshot`)
      }
      const vm = state.machines.worldVm(row)
      const domainXml = await state.world.xml(vm, { signal })
      const id = randomUUID()
      const { event } = state.machines.work('snapshot', 'snapshot.create', row, status, async (signal) => {
        await state.world.saveSnapshot(vm, id, { signal })
        const createTime = state.clock.now()
        state.snapshots.add({ id, domainId: row.id, name: body.name, createTime, domainStatus: status, domainXml })
      })
      return { eventId: event.id }
    },
  }),
  operation({
    name: 'snapshot.get',
    method: 'GET',
    path: '/ocloud/v1/snapshot/{id}',
    envelope: 'R',
    answer: SNAPSHOT_VO,
    handle: ({ state, path }) => view(snapshot(state, path['id'] as string)),
  }),
  operation({
    name: 'snapshot.delete',
    method: 'DELETE',
    path: '/ocloud/v1/snapshot/{id}',
    envelope: 'B',
    async handle({ state, path }) {
      const { id, domainId } = snapshot(state, path['id'] as string)
      const row = state.vm(domainId)
      await state.machines.doNow('snapshot.delete', row, row.status, async (signal) => {
        await state.world.deleteSnapshot(state.machines.worldVm(row), id, { signal })
        state.snapshots.delete(id)
      })
    },
  }),
  operation({
    name: 'snapshot.restore',
    method: 'POST',
    path: '/ocloud/v1/snapshot/{id}/restore',
    envelope: 'B',
    async handle({ state, path }) {
      const { id, domainId, domainStatus } = snapshot(state, path['id'] as string)
      const row = state.vm(domainId)
      if (row.status === VM_STATUS.asleep) throw refuse('wrongState', `"${row.name}" is asleep`)
      await state.machines.restoreSnapshot(row, id, domainStatus as VmStatus)
    },
  }),
]
