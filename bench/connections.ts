/** What connecting to a host costs, and what keeping connections gains: one, a new one for each call, or a pool. */
import { writeFile } from 'node:fs/promises'
import {
  ConnectionPool,
  HostConnection,
  POOL_STRATEGIES,
  type HostInfo,
  type PoolStrategy,
} from '../framework/hosts/index.ts'
import type { Domain } from '../framework/protocols/libvirt/index.ts'
import { hypervisorVersions } from '../lab/versions.ts'
import { missingHostPart, RemoteHost, tinyDomain, type Way } from '../tests/support/remote-host/index.ts'
import { median, percentile, type BenchContext, type BenchResult } from './result.ts'

const WAYS = ['unix', 'tcp', 'tls'] as const
const LISTEN = ['tcp', 'tls'] as const
const LONGEST_CONNECT_MS = 500
const CONNECT_ROUNDS = 100
/** Ways on which sides are compared: the nearest and the dearest. */
const COMPARED = ['unix', 'tls'] as const
/** Many short rounds: what slows the machine down then slows all sides of a round. */
const ROUNDS = 60
const CALLS = 64
const AT_ONCE = 16
const VMS = 8
/** Of twenty calls, by what they take of the daemon: small answers of the monitor, states, XML, and a longer answer. */
const MIX = [...'qqqqqqqqqqqqssssxxxL']

/** Runs a task with a connection; how it comes by one is what is compared. */
interface Side {
  use<T>(task: (connection: HostConnection) => Promise<T>): Promise<T>
  close(): Promise<unknown>
}
/** Of one side, of each round: milliseconds of the whole, and of each call. */
interface Round {
  totalMs: number
  callsMs: number[]
}

export async function run({ log, samplesFile }: BenchContext): Promise<BenchResult> {
  const missing = missingHostPart(LISTEN)
  if (missing) throw new Error(`bench connections needs a daemon that listens on TCP and TLS: ${missing}`)
  const remote = await RemoteHost.start({ listen: LISTEN })
  try {
    const owner = await HostConnection.open(remote.info('unix'))
    try {
      const vms = await startVms(owner)
      const connectMs = await connectRounds((way) => remote.info(way), log)
      const rounds: Record<string, Record<string, Round[]>> = {}
      for (const way of COMPARED) rounds[way] = await compare(way, remote.info(way), vms, log)
      await writeFile(samplesFile, JSON.stringify({ connectMs, rounds }))
      const { metrics, failures } = connectFigures(connectMs)
      const compared = comparedFigures(rounds)
      return {
        name: 'connections',
        metrics: { ...metrics, rounds: ROUNDS, calls_per_round: CALLS, at_once: AT_ONCE, ...compared.metrics },
        ratios: compared.ratios,
        n: CONNECT_ROUNDS,
        versions: { node: process.versions.node, ...(await hypervisorVersions()) },
        qemuPids: vms.map(({ name }) => remote.daemon.qemuPid(name)),
        samplesFile,
        failures,
      }
    } finally {
      await owner.close()
    }
  } finally {
    await remote.stop()
  }
}

async function startVms(owner: HostConnection): Promise<Domain[]> {
  const client = await owner.client('control')
  const vms: Domain[] = []
  for (let index = 0; index < VMS; index++)
    vms.push(await client.createXml(tinyDomain(`bench-${index}`), { paused: true, autodestroy: true }))
  return vms
}

/** Milliseconds until a connection can be used, on each way in turns. */
async function connectRounds(info: (way: Way) => HostInfo, log: (text: string) => void) {
  const samples: Record<(typeof WAYS)[number], number[]> = { unix: [], tcp: [], tls: [] }
  for (let round = 0; round < CONNECT_ROUNDS; round++) {
    for (let turn = 0; turn < WAYS.length; turn++) {
      const way = WAYS[(round + turn) % WAYS.length] as (typeof WAYS)[number]
      const started = performance.now()
      const host = await HostConnection.open(info(way), { connections: 'shared' })
      samples[way].push(performance.now() - started)
      await host.close()
    }
  }
  for (const way of WAYS) log(`connecting over ${way}: median ${median(samples[way]).toFixed(2)} ms`)
  return samples
}

/** The same calls on every side, round for round. */
async function compare(way: string, info: HostInfo, vms: Domain[], log: (text: string) => void) {
  const sides: Record<string, Side> = {}
  try {
    sides['one'] = await oneConnection(info)
    sides['control'] = await oneConnection(info)
    sides['fresh'] = freshConnections(info)
    for (const strategy of POOL_STRATEGIES) sides[`pool_${strategy.replace('-', '_')}`] = poolOf(info, strategy)
    const names = Object.keys(sides)
    const rounds: Record<string, Round[]> = Object.fromEntries(names.map((name) => [name, []]))
    for (const side of Object.values(sides)) await mixedCalls(side, vms)
    for (let round = 0; round < ROUNDS; round++) {
      // In another order each time: what a side leaves behind meets each of the others as often.
      for (const name of shuffled(names)) rounds[name]?.push(await mixedCalls(sides[name] as Side, vms))
      if ((round + 1) % 20 > 0) continue
      const took = names.map((name) => `${name} ${rounds[name]?.at(-1)?.totalMs.toFixed(0)}`)
      log(`${way} round ${round + 1}/${ROUNDS}, ms: ${took.join(', ')}`)
    }
    return rounds
  } finally {
    await Promise.all(Object.values(sides).map((side) => side.close()))
  }
}

function shuffled<T>(list: readonly T[]): T[] {
  return list
    .map((value) => ({ value, place: Math.random() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ value }) => value)
}

async function oneConnection(info: HostInfo): Promise<Side> {
  const host = await HostConnection.open(info, { connections: 'shared' })
  return { use: (task) => task(host), close: () => host.close() }
}

function freshConnections(info: HostInfo): Side {
  return {
    async use(task) {
      const host = await HostConnection.open(info, { connections: 'shared' })
      try {
        return await task(host)
      } finally {
        await host.close()
      }
    },
    close: async () => {},
  }
}

/** As specs have it, but for the strategy. */
function poolOf(info: HostInfo, strategy: PoolStrategy): Side {
  const create = () => HostConnection.create(info, { connections: 'shared' })
  const pool = new ConnectionPool({ host: info.id, create, strategy })
  return { use: (task) => pool.use((connection) => task(connection)), close: () => pool.close() }
}

/** {@link CALLS} calls, {@link AT_ONCE} at a time, each caller at a VM of its own choice. */
async function mixedCalls(side: Side, vms: Domain[]): Promise<Round> {
  const callsMs: number[] = []
  let next = 0
  const caller = async () => {
    for (let index = next++; index < CALLS; index = next++) {
      const [kind, vm] = [MIX[(index * 7) % MIX.length], vms[index % vms.length] as Domain]
      const started = performance.now()
      await side.use(async (connection) => {
        const client = await connection.client('calls')
        if (kind === 's') return client.getState(vm)
        if (kind === 'x') return client.getXml(vm)
        return client.monitorCommand(vm, `{"execute":"${kind === 'L' ? 'query-commands' : 'query-status'}"}`)
      })
      callsMs.push(performance.now() - started)
    }
  }
  const started = performance.now()
  await Promise.all(Array.from({ length: AT_ONCE }, caller))
  return { totalMs: performance.now() - started, callsMs }
}

function connectFigures(samples: Record<(typeof WAYS)[number], number[]>) {
  const figures = (way: (typeof WAYS)[number]) => [median(samples[way]), percentile(samples[way], 0.99)] as const
  const metrics: Record<string, number> = {
    connect_ms: Math.max(...WAYS.map((way) => figures(way)[0])),
    connect_p99_ms: Math.max(...WAYS.map((way) => figures(way)[1])),
  }
  for (const way of WAYS) [metrics[`connect_${way}_ms`], metrics[`connect_${way}_p99_ms`]] = figures(way)
  const failures = WAYS.filter((way) => figures(way)[1] >= LONGEST_CONNECT_MS).map(
    (way) => `connecting over ${way} takes ${figures(way)[1].toFixed(0)} ms (p99), not less than ${LONGEST_CONNECT_MS}`,
  )
  return { metrics, failures }
}

/** A ratio below 1 is less time than over one connection. */
function comparedFigures(all: Record<string, Record<string, Round[]>>) {
  const metrics: Record<string, number> = {}
  const ratios: Record<string, number> = {}
  for (const [way, sides] of Object.entries(all)) {
    const one = sides['one'] as Round[]
    const paired = (rounds: Round[]) =>
      median(rounds.map(({ totalMs }, round) => totalMs / (one[round] as Round).totalMs))
    for (const [side, rounds] of Object.entries(sides)) {
      metrics[`${side}_${way}_calls_per_s`] = median(rounds.map(({ totalMs }) => (CALLS / totalMs) * 1000))
      const calls = rounds.flatMap(({ callsMs }) => callsMs)
      metrics[`${side}_${way}_call_ms`] = median(calls)
      metrics[`${side}_${way}_call_p99_ms`] = percentile(calls, 0.99)
      if (side !== 'one') ratios[`${side === 'control' ? 'one' : side}_vs_one_${way}`] = paired(rounds)
    }
  }
  return { metrics, ratios }
}
