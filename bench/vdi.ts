/** The platform's client beside bare undici, same server, same answers, rounds interleaved; and a long list. */
import { writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { Pool } from 'undici'
import { Secret } from '../framework/core/index.ts'
import { VdiClient } from '../framework/vdi/index.ts'
import { median, percentile, type BenchContext, type BenchResult } from './result.ts'
import { startVdiPeer, type VdiPeer } from './support/vdi-peers.ts'

/** Many short rounds: what slows the machine down then slows all sides of a round. */
const ROUNDS = 50
const WARM_UP_ROUNDS = 10
const CONNECTIONS = 16
const { version: undici } = createRequire(import.meta.url)('undici/package.json') as { version: string }
const LISTS = 10
const VMS = 1000

/** A call, and how many of them are one round: about as long for each. */
interface Call {
  count: number
  bare(pool: Pool): Promise<unknown>
  client(client: VdiClient): Promise<unknown>
}
const CALLS: Record<'one_vm' | 'small' | 'page_of_100', Call> = {
  one_vm: { count: 100, bare: (pool) => get(pool, '/one'), client: (client) => client.domains.get('one') },
  small: {
    count: 100,
    bare: (pool) => get(pool, '/one/port'),
    client: (client) => client.domains.consoles.ports('one'),
  },
  page_of_100: {
    count: 10,
    bare: (pool) => get(pool, '?pageNum=1&pageSize=100'),
    client: (client) => client.domains.listAll(),
  },
}
type CallName = keyof typeof CALLS
const NAMES = Object.keys(CALLS) as CallName[]
/** One call after the other, and as many at a time as there are connections. */
const ABREAST = [1, CONNECTIONS] as const

type Run = (call: Call) => Promise<unknown>
/** Mean microseconds of a call, per round. */
type Samples = Record<string, number[]>

/**
 * `ratios.client_vs_undici` is about reading one VM with all its fields, call after call, with the default checks; the
 * other ratios are named after what differs: the answer, calls at a time, strict checks, undici beside itself.
 */
export async function run({ log, samplesFile }: BenchContext): Promise<BenchResult> {
  const samples: Record<string, Samples> = {}
  const canned = await startVdiPeer('canned-platform')
  const clients = { tolerant: clientOf(canned), strict: clientOf(canned, 'strict') }
  const pools = [
    new Pool(canned.url, { connections: CONNECTIONS }),
    new Pool(canned.url, { connections: CONNECTIONS }),
  ] as const
  try {
    const sides: Record<string, Run> = {
      bare: (call) => call.bare(pools[0]),
      control: (call) => call.bare(pools[1]),
      tolerant: (call) => call.client(clients.tolerant),
      strict: (call) => call.client(clients.strict),
    }
    for (const abreast of ABREAST) {
      for (const name of NAMES) {
        const title = abreast === 1 ? name : `${name}_${abreast}_abreast`
        const found = await interleave(CALLS[name], abreast, sides)
        samples[title] = found
        log(
          `${title}: ${Object.keys(found)
            .map((side) => `${side} ${median(found[side] ?? []).toFixed(0)} µs`)
            .join(', ')}`,
        )
      }
    }
  } finally {
    await Promise.all([clients.tolerant.close(), clients.strict.close(), ...pools.map((pool) => pool.destroy())])
    await canned.stop()
  }
  const lists = await listThousand(log)
  await writeFile(samplesFile, JSON.stringify({ calls: samples, lists }))
  return {
    name: 'vdi',
    metrics: {
      rounds: ROUNDS,
      ...absolute(samples),
      list_1000_ms: median(lists),
      list_1000_worst_ms: Math.max(...lists),
    },
    ratios: ratiosOf(samples),
    n: ROUNDS * CALLS.one_vm.count,
    versions: { node: process.versions.node, undici },
    qemuPids: [],
    samplesFile,
  }
}

function clientOf(peer: VdiPeer, validation?: 'strict'): VdiClient {
  const { url, username, password } = peer
  return new VdiClient({
    baseUrl: url,
    username,
    password: new Secret('bench vdi', password),
    ...(validation && { validation }),
  })
}

/** What a caller without a client writes; the data is looked up as the client looks it up. */
async function get(pool: Pool, tail: string): Promise<unknown> {
  const { body } = await pool.request({
    method: 'GET',
    path: `/ocloud/v1/domain${tail}`,
    headers: { token: 'canned-token' },
  })
  return ((await body.json()) as { data: unknown }).data
}

async function interleave(call: Call, abreast: number, sides: Record<string, Run>): Promise<Samples> {
  const names = Object.keys(sides)
  const samples: Samples = Object.fromEntries(names.map((name) => [name, []]))
  // In the rounds before, connections, the login, the compiled checks and the compiled code come to be.
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round++) {
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + WARM_UP_ROUNDS + turn) % names.length] as string
      const durationUs = await meanUs(() => (sides[name] as Run)(call), call.count, abreast)
      if (round >= 0) samples[name]?.push(durationUs)
    }
  }
  return samples
}

async function meanUs(once: () => Promise<unknown>, count: number, abreast: number): Promise<number> {
  let left = count
  const startedMs = performance.now()
  const lane = async () => {
    while (left-- > 0) await once()
  }
  await Promise.all(Array.from({ length: abreast }, lane))
  return ((performance.now() - startedMs) * 1000) / count
}

function ratiosOf(samples: Record<string, Samples>): Record<string, number> {
  const ratios: Record<string, number> = {}
  for (const [title, sides] of Object.entries(samples)) {
    const bare = sides['bare'] ?? []
    const paired = (side: string) => median((sides[side] ?? []).map((value, round) => value / (bare[round] as number)))
    const tail = title === 'one_vm' ? '' : `_${title}`
    ratios[`client_vs_undici${tail}`] = paired('tolerant')
    ratios[`strict_client_vs_undici${tail}`] = paired('strict')
    ratios[`undici_vs_undici${tail}`] = paired('control')
  }
  return ratios
}

function absolute(samples: Record<string, Samples>): Record<string, number> {
  const metrics: Record<string, number> = {}
  for (const [title, sides] of Object.entries(samples)) {
    for (const side of ['bare', 'tolerant', 'strict']) {
      metrics[`${side}_${title}_ms`] = median(sides[side] ?? []) / 1000
      metrics[`${side}_${title}_p90_ms`] = percentile(sides[side] ?? [], 0.9) / 1000
    }
  }
  return metrics
}

/** Milliseconds of each of several lists of 1,000 VMs, page after page, from the stand-in platform. */
async function listThousand(log: (text: string) => void): Promise<number[]> {
  const peer = await startVdiPeer('memory-platform')
  const client = clientOf(peer)
  try {
    const [template] = await client.models.listAll()
    if (!template) throw new Error('the stand-in platform has no template')
    const name = 'bench-vdi'
    const { eventId } = await client.deskPools.create({
      name,
      type: 0,
      amount: VMS,
      modelId: template.id,
      domainPrefix: name,
    })
    await client.deskPools.waitForPool(name, VMS, { events: [eventId], timeoutMs: 120_000 })
    const durations: number[] = []
    for (let index = 0; index < LISTS; index++) {
      const startedMs = performance.now()
      const { length } = await client.domains.listAll({ keyword: name })
      durations.push(performance.now() - startedMs)
      if (length !== VMS) throw new Error(`${length} VMs were listed, not ${VMS}`)
    }
    log(`list of ${VMS} VMs: ${durations.map((ms) => ms.toFixed(0)).join(', ')} ms`)
    return durations
  } finally {
    await client.close()
    await peer.stop()
  }
}
