/** A process that answers as a platform does, with the same bytes each time. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { JsonSchema } from '../../framework/vdi/index.ts'
import { DomainVO } from '../../framework/vdi/operations/domains.ts'
import type { Hello } from './vdi-peers.ts'

const ROWS = 100
const fields = Object.entries(DomainVO.json.properties ?? {})
const success = (data: unknown) => JSON.stringify({ status: 0, msg: '操作成功', data })

/** A VM with every field that the platform knows. */
function vm(index: number): object {
  const row = Object.fromEntries(fields.map(([name, schema]) => [name, value(name, schema)]))
  return { ...row, id: `5d3f2c1a-0000-4000-8000-${String(index).padStart(12, '0')}`, name: `桌面-${index}`, status: 1 }
}

function value(name: string, { type }: JsonSchema): unknown {
  const types = [type].flat()
  if (types.includes('object')) return '2026-01-31 12:00:00'
  if (types.includes('string')) return `value of ${name}`
  return types.includes('boolean') ? false : 1
}

const answers = new Map([
  ['/ocloud/v1/login', success({ token: 'canned-token', username: 'admin', roleLevel: '1' })],
  ['/ocloud/v1/logout', JSON.stringify({ status: 0, msg: '操作成功' })],
  ['/ocloud/v1/domain/one', success(vm(1))],
  [
    '/ocloud/v1/domain/one/port',
    success([
      { type: 'spice', value: 5900 },
      { type: 'vnc', value: 5901 },
    ]),
  ],
  [
    '/ocloud/v1/domain',
    success({ list: Array.from({ length: ROWS }, (_, i) => vm(i)), total: ROWS, pageNum: 1, pageSize: ROWS, pages: 1 }),
  ],
])

const server = createServer((request, response) => {
  request.resume()
  const answer = answers.get((request.url as string).split('?')[0] as string)
  response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json;charset=UTF-8' })
  response.end(answer)
})
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo
  const hello: Hello = { url: `http://127.0.0.1:${port}`, username: 'admin', password: 'canned' }
  process.send?.(hello)
})
process.once('disconnect', () => {
  server.close()
  server.closeAllConnections()
})
