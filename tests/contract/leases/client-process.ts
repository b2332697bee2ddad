/** A client in a process of its own: leases as it is told, prints what it got, and holds it until it is killed. */
import { BrokerClient, type ConnectOptions, type LastWill, type LeaseRequest } from '../../../framework/leases/index.ts'

const {
  connect,
  requests,
  wills = [],
} = JSON.parse(process.argv[2] as string) as {
  connect: ConnectOptions
  requests: LeaseRequest[]
  wills?: LastWill[]
}
const client = await BrokerClient.connect(connect)
for (const will of wills) await client.will(will)
const leases = []
for (const request of requests) leases.push(await client.lease(request, { timeoutMs: 20_000 }))
process.stdout.write(`${JSON.stringify({ broker: client.pid, leases })}\n`)
client.onClose((error) => {
  process.stdout.write(`${JSON.stringify({ lost: (error as { code?: string }).code })}\n`)
})
