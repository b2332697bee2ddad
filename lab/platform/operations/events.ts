import { contains, listed, operation, pageOf } from '../operation.ts'
import { refuse } from '../refusal.ts'
import type { EventRow } from '../rows.ts'
import { datetime, int, object, oneOf, page, PAGE, string, type ValueOf } from '../schema.ts'
import type { PlatformState } from '../state.ts'

const EVENT_VO = object('EventVO', {
  createTime: datetime,
  description: string,
  domainId: string,
  domainName: string,
  errorReason: string,
  eventType: int,
  hostId: string,
  id: string,
  ip: string,
  isAsc: int,
  isSuccess: int,
  operateType: int,
  updateTime: datetime,
})

function view(state: PlatformState, { success, ...row }: EventRow): ValueOf<typeof EVENT_VO> {
  const { eventSuccess } = state.behaviour
  return { ...row, isAsc: 1, ...(success !== undefined && { isSuccess: success ? eventSuccess : 1 - eventSuccess }) }
}

export const EVENT_OPERATIONS = [
  operation({
    name: 'event.list',
    method: 'GET',
    path: '/ocloud/v1/event',
    query: { ...PAGE, domainName: string, ip: string, isSuccess: oneOf(0, 1), operateType: string },
    envelope: 'R',
    answer: page(EVENT_VO),
    handle(call) {
      const { state, query } = call
      const rows = state.eventRows
        .all()
        .filter(
          (row) =>
            contains(query.domainName, row.domainName) &&
            (query.ip === undefined || row.ip === query.ip) &&
            (query.isSuccess === undefined || row.success === (query.isSuccess === 1)) &&
            listed(query.operateType, row.operateType),
        )
        .toReversed()
      return pageOf(call, rows, (row) => view(state, row))
    },
  }),
  operation({
    name: 'event.get',
    method: 'GET',
    path: '/ocloud/v1/event/{id}',
    envelope: 'R',
    answer: EVENT_VO,
    handle({ state, path }) {
      const row = state.eventRows.get(path['id'] as string)
      if (!row) throw refuse('noSuch', `there is no event ${path['id']}`)
      return view(state, row)
    },
  }),
]
