import { operation } from '../operation.ts'
import { body, each, type Infer, int, oneOf, pageOf, record, text, wireTime } from '../schema.ts'

const EventVO = record(
  { id: text },
  {
    ...each(text, 'description', 'domainId', 'domainName', 'errorReason', 'hostId', 'ip'),
    ...each(int, 'eventType', 'isAsc', 'isSuccess', 'operateType'),
    ...each(wireTime, 'createTime', 'updateTime'),
  },
)
/** What became of an operation. `isSuccess`: see `eventSuccessValue` of the assumptions. */
export type EventVO = Infer<typeof EventVO>

/** Operations of events. */
export const events = {
  list: operation({
    name: 'events.list',
    method: 'GET',
    path: '/ocloud/v1/event',
    query: body(
      {},
      { ...each(text, 'domainName', 'ip', 'operateType'), isSuccess: oneOf(0, 1), ...each(int, 'pageNum', 'pageSize') },
    ),
    answer: pageOf(EventVO),
  }),
  get: operation({ name: 'events.get', method: 'GET', path: '/ocloud/v1/event/{id}', answer: EventVO }),
}
