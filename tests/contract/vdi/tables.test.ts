/**
 * The client's table of operations and the stand-in's, each held against the field manifest. They share nothing, so
 * that a mistake of one cannot hide that of the other; the manifest is what both have in common.
 */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { VDI_OPERATIONS } from '../../../framework/vdi/index.ts'
import { PLATFORM_OPERATIONS } from '../../../lab/platform/operations/index.ts'
import type { FieldManifest } from '../../../scripts/vdi-fields.ts'
import { clientTable } from './client-table.ts'
import { differences, type Side, type TableEntry, type WireField } from './conformance.ts'
import { standInTable } from './stand-in-table.ts'

const manifest = JSON.parse(
  readFileSync(resolve(import.meta.dirname, '../../../schemas/vdi-fields.json'), 'utf8'),
) as FieldManifest

const tables: Record<Side, TableEntry[]> = {
  client: clientTable(VDI_OPERATIONS),
  'stand-in': standInTable(PLATFORM_OPERATIONS),
}

/** Fields of answers that the client cannot do without, although the documents mark hardly any field as required. */
const INSISTS_ON = {
  'rows are told apart and asked for by these': [
    'DesktopPoolVO.id',
    'DesktopPoolVO.name',
    'DomainEntity.id',
    'DomainSerialDeviceVO.id',
    'DomainSnapshotVO.id',
    'DomainSnapshotVO.name',
    'DomainVO.id',
    'DomainVO.name',
    'EventVO.id',
    'HostDetailVO.id',
    'HostDetailVO.name',
    'HostVO.id',
    'HostVO.name',
    'PoolVolumeVO.id',
    'RecycleDomainVO.id',
    'RecycleDomainVO.name',
    'StorageVolumeVO.id',
    'UserDetailVo.sAMAccountName',
    'UserListVo.sAMAccountName',
  ],
  'paging ends by these': ['PageResult.list', 'PageResult.total'],
  'waits and the search for the libvirt host rest on these': [
    'DomainVO.status',
    'RecycleDomainVO.status',
    'HostDetailVO.ip',
    'HostDetailVO.status',
    'HostVO.ip',
    'HostVO.status',
  ],
  'they are all that is asked for': [
    'DomainCloneVO.cloneUuid',
    'DomainCloneVO.eventId',
    'DomainCreateVO.uuid',
    'DomainGetVncPasswordVO.password',
    'DomainPortVO.type',
    'DomainPortVO.value',
    'EventIdVO.eventId',
    'HostUptimeVO.uptime',
    'LoginData.token',
    'LoginVO.token',
    'ResultClient.token',
    'SpiceKeyVO.ip',
    'SpiceKeyVO.key',
    'SpiceKeyVO.port',
    'StorageVolumeCreateVO.id',
  ],
}

/** Differences that are meant, by their reason. One that exists no longer fails the test as well. */
const MEANT: Record<Side, Record<string, string[]>> = {
  client: {
    ...Object.fromEntries(
      Object.entries(INSISTS_ON).map(([reason, fields]) => [
        reason,
        fields.map((field) => `${field}: required here, optional in the documents`),
      ]),
    ),
    'the platform was seen to take it instead of sAMAccountName': ['LoginReq.username: not in the documents'],
    'newer builds add it to the envelope': ['ResultClient.status: not in the documents'],
    'nobody reads it': ['ResultClient.zzdUser: any here, object in the documents'],
  },
  'stand-in': {
    'the platform was seen to take it instead of sAMAccountName': ['LoginReq.username: not in the documents'],
    'always an empty list': ['LoginData.linkingHosts[]: map here, object in the documents'],
    'never answered': ['ResultClient.zzdUser: any here, object in the documents'],
  },
}

describe.each(['client', 'stand-in'] as const)('%s', (side) => {
  it('differs from the documents only where it is meant to', () => {
    expect(differences(side, tables[side], manifest)).toEqual(Object.values(MEANT[side]).flat().sort())
  })

  it('defines no operation twice', () => {
    const operations = tables[side].map(({ operation }) => operation)
    expect(operations.filter((one, index) => operations.indexOf(one) !== index)).toEqual([])
  })
})

it('the stand-in answers every operation of the client', () => {
  const answered = new Set(tables['stand-in'].map(({ operation }) => operation))
  const missing = tables.client.map(({ operation }) => operation).filter((operation) => !answered.has(operation))
  expect(missing).toEqual([])
})

it('the manifest holds what is modelled, and nothing else', () => {
  const modelled = new Set(Object.values(tables).flatMap((table) => table.map(({ operation }) => operation)))
  expect(Object.keys(manifest.operations).filter((operation) => !modelled.has(operation))).toEqual([])
})

/** What a slip in a table looks like. Each must be reported, or the tests above could not fail. */
describe.each(['client', 'stand-in'] as const)('a slip of the %s', (side) => {
  function found(slip: (table: TableEntry[]) => void): string[] {
    const table = structuredClone(tables[side])
    slip(table)
    const meant = new Set(Object.values(MEANT[side]).flat())
    return differences(side, table, manifest).filter((difference) => !meant.has(difference))
  }

  function entry(table: TableEntry[], operation: string): TableEntry {
    const one = table.find((candidate) => candidate.operation === operation)
    if (!one) throw new Error(`${side} has no ${operation}`)
    return one
  }

  function bodyOf(table: TableEntry[], operation: string): Record<string, WireField> {
    return entry(table, operation).body?.fields ?? {}
  }

  function answerOf(table: TableEntry[], operation: string): Record<string, WireField> {
    return entry(table, operation).answer?.fields ?? {}
  }

  function rename(fields: Record<string, WireField>, from: string, to: string): void {
    fields[to] = fields[from] as WireField
    delete fields[from]
  }

  it.each<[string, (table: TableEntry[]) => void, string]>([
    [
      'another path',
      (table) => void (entry(table, 'GET /ocloud/v1/domain/{id}').operation = 'GET /ocloud/v1/domain/info/{id}'),
      'GET /ocloud/v1/domain/info/{id}: not in the manifest',
    ],
    [
      'another method',
      (table) => void (entry(table, 'POST /ocloud/v1/domain/delete').operation = 'DELETE /ocloud/v1/domain/delete'),
      'DELETE /ocloud/v1/domain/delete: not in the manifest',
    ],
    [
      'another envelope',
      (table) => void (entry(table, 'POST /ocloud/usermodule/login').envelope = 'R'),
      'POST /ocloud/usermodule/login: envelope R here, U in the documents',
    ],
    [
      'a renamed query parameter',
      (table) => rename(entry(table, 'GET /ocloud/v1/domain').query, 'keyword', 'name'),
      'GET /ocloud/v1/domain.name: not in the documents',
    ],
    [
      'a renamed field of a body',
      (table) => rename(bodyOf(table, 'POST /ocloud/v1/domain/start'), 'idList', 'domainIds'),
      'DomainBatchTaskDto.domainIds: not in the documents',
    ],
    [
      'a missing field of a body',
      (table) => void delete bodyOf(table, 'POST /ocloud/v1/desk-pool')['amount'],
      'DeskPoolCreateDto.amount: missing here',
    ],
    [
      'a required field that may be left out',
      (table) => void ((bodyOf(table, 'POST /ocloud/v1/desk-pool')['amount'] as WireField).required = false),
      'DeskPoolCreateDto.amount: optional here, required in the documents',
    ],
    [
      'another type',
      (table) => void ((answerOf(table, 'GET /ocloud/v1/domain/{id}')['memory'] as WireField).wire.kind = 'string'),
      'DomainVO.memory: string here, integer in the documents',
    ],
    [
      'a renamed field of an answer',
      (table) => rename(answerOf(table, 'GET /ocloud/v1/domain/{id}'), 'desktopPoolId', 'deskPoolId'),
      'DomainVO.deskPoolId: not in the documents',
    ],
    [
      'an unexpected answer',
      (table) => void (entry(table, 'POST /ocloud/v1/logout').answer = { kind: 'string' }),
      'POST /ocloud/v1/logout answer: not in the documents',
    ],
    [
      'a forgotten answer',
      (table) => void (entry(table, 'GET /ocloud/v1/domain/{id}/xml').answer = undefined),
      'GET /ocloud/v1/domain/{id}/xml answer: missing here',
    ],
  ])('is reported: %s', (_slip, slip, difference) => {
    expect(found(slip)).toContain(difference)
  })
})
