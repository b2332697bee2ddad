import { operation } from '../operation.ts'
import { body, each, type Infer, int, listOf, oneOf, record, text } from '../schema.ts'

const DomainSerialAddDto = body(
  {},
  { serialModel: oneOf(0, 1, 2), ...each(text, 'sourcePort', 'targetPort', 'targetServer') },
)
/** A serial port to make. `serialModel`: 0 linked to another VM's, 1 to one of a host, 2 on its own. */
export type DomainSerialAddDto = Infer<typeof DomainSerialAddDto>

const DomainSerialDeviceVO = record(
  { id: int },
  {
    ...each(text, 'comNum', 'domainId', 'showPort', 'sourcePort', 'targetPort', 'targetServer', 'targetServerName'),
    ...each(int, 'enable', 'serialModel', 'serverClient'),
  },
)
/** A serial port of a VM. */
export type DomainSerialDeviceVO = Infer<typeof DomainSerialDeviceVO>

const ServerSerialVO = record(
  {},
  { ...each(text, 'id', 'name'), portList: listOf(record({}, each(text, 'showPort', 'sourcePort'))) },
)
/** Serial ports of another VM that one can be linked to. */
export type ServerSerialVO = Infer<typeof ServerSerialVO>

/** Operations of serial ports. */
export const serials = {
  list: operation({
    name: 'serials.list',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/serial',
    answer: listOf(DomainSerialDeviceVO),
  }),
  targets: operation({
    name: 'serials.targets',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/server-serial',
    answer: listOf(ServerSerialVO),
  }),
  create: operation({
    name: 'serials.create',
    method: 'POST',
    path: '/ocloud/v1/domain/{id}/serial',
    body: DomainSerialAddDto,
  }),
  update: operation({
    name: 'serials.update',
    method: 'PUT',
    path: '/ocloud/v1/domain/{domainId}/serial/{serialId}',
    body: DomainSerialAddDto,
    idempotent: true,
  }),
  delete: operation({
    name: 'serials.delete',
    method: 'DELETE',
    path: '/ocloud/v1/domain/{domainId}/serial/{serialId}',
  }),
}
