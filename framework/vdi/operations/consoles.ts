import { operation } from '../operation.ts'
import { body, each, type Infer, int, listOf, record, text } from '../schema.ts'

const DomainPortVO = record({ type: text, value: int })
/** A port of a VM's console as the platform names it. */
export type DomainPortVO = Infer<typeof DomainPortVO>

/** Operations that lead to a VM's console. */
export const consoles = {
  ports: operation({
    name: 'consoles.ports',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/port',
    answer: listOf(DomainPortVO),
  }),
  spiceKey: operation({
    name: 'consoles.spiceKey',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/spice-key',
    answer: record({ ip: text, key: text, port: text }, each(text, 'domainId', 'hostId', 'name')),
  }),
  vncPassword: operation({
    name: 'consoles.vncPassword',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/vnc-password',
    query: body({}, { sharePassword: text }),
    answer: record({ password: text }),
  }),
  xml: operation({ name: 'consoles.xml', method: 'GET', path: '/ocloud/v1/domain/{id}/xml', answer: text }),
}
