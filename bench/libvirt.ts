/** Our libvirt client beside python3-libvirt: same VM, same socket, connections held open, rounds interleaved. */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { HostConnection } from '../framework/hosts/index.ts'
import { unsupportedError } from '../framework/core/index.ts'
import { parseDomainXml, type Domain, type LibvirtClient } from '../framework/protocols/libvirt/index.ts'
import { median, percentile, type BenchContext, type BenchResult } from './result.ts'
import { openBenchVm, type BenchVm } from './support/lab-vm.ts'

/** Many short rounds: what slows the machine down then slows all sides of a round. */
const ROUNDS = 30
const CALLS = 60
const WARM_UP_CALLS = 300
const OPERATIONS = ['query_status', 'guest_ping'] as const
type Operation = (typeof OPERATIONS)[number]

/** Milliseconds of each of `count` sequential calls. */
type Runner = (operation: Operation, count: number) => Promise<number[]>
interface Side {
  run: Runner
  close(): Promise<void>
}

export async function run(context: BenchContext): Promise<BenchResult> {
  const bench = await openBenchVm('ps2', (text) => context.log(text))
  try {
    return await measure(context, bench)
  } finally {
    await bench.close()
  }
}

async function measure(context: BenchContext, { vm, qemuPid, versions }: BenchVm): Promise<BenchResult> {
  const connection = await HostConnection.open(vm.host)
  const sides: Record<string, Side> = {}
  try {
    const client = await connection.client('calls')
    const domain = await client.lookupByUuid(vm.uuid)
    const python = await pythonSide(vm.host.uri, vm.uuid)
    sides['python'] = python
    sides['control'] = await pythonSide(vm.host.uri, vm.uuid)
    sides['ours'] = ourSide(client, domain)
    const qmpSocketPath = parseDomainXml(await client.getXml(domain)).qmpSocketPaths[0]
    if (qmpSocketPath !== undefined) sides['floor'] = await rawQmpSide(qmpSocketPath)
    else context.log('raw-socket floor: n/a, the VM has no QMP monitor of its own')
    const samples = await interleave(context, sides)
    await writeFile(context.samplesFile, JSON.stringify(samples))
    return {
      name: 'libvirt',
      ...summary(samples),
      n: ROUNDS * CALLS,
      versions: { ...versions, python_libvirt: versionText(python.libVersion) },
      qemuPids: [qemuPid],
      samplesFile: context.samplesFile,
    }
  } finally {
    await Promise.all(Object.values(sides).map((side) => side.close()))
    await connection.close()
  }
}

/** Per operation and side: a list of rounds, each a list of milliseconds. */
type Samples = Record<Operation, Record<string, number[][]>>

async function interleave(context: BenchContext, sides: Record<string, Side>): Promise<Samples> {
  const samples: Samples = { query_status: {}, guest_ping: {} }
  for (const operation of OPERATIONS) {
    const names = Object.keys(sides).filter((name) => name !== 'floor' || operation === 'query_status')
    for (const name of names) {
      samples[operation][name] = []
      await sides[name]?.run(operation, WARM_UP_CALLS)
    }
    for (let round = 0; round < ROUNDS; round++) {
      // Another side goes first each round, so that none always meets the same moment of a drift.
      for (let turn = 0; turn < names.length; turn++) {
        const name = names[(round + turn) % names.length] as string
        samples[operation][name]?.push((await sides[name]?.run(operation, CALLS)) ?? [])
      }
      const figures = names.map((name) => `${name} ${median(samples[operation][name]?.at(-1) ?? []).toFixed(3)}`)
      context.log(`${operation} round ${round + 1}/${ROUNDS}, median ms: ${figures.join(', ')}`)
    }
  }
  return samples
}

function summary(samples: Samples): Pick<BenchResult, 'metrics' | 'ratios'> {
  const metrics: Record<string, number> = { rounds: ROUNDS, calls_per_round: CALLS }
  const ratios: Record<string, number> = {}
  for (const operation of OPERATIONS) {
    const rounds = (side: string) => (samples[operation][side] ?? []).map(median)
    for (const side of Object.keys(samples[operation])) {
      metrics[`${side}_${operation}_ms`] = median(rounds(side))
      metrics[`${side}_${operation}_p99_ms`] = percentile((samples[operation][side] ?? []).flat(), 0.99)
    }
    const paired = (side: string, reference: string) => {
      const references = rounds(reference)
      return median(rounds(side).map((value, round) => value / (references[round] as number)))
    }
    ratios[`${operation}_vs_python`] = paired('ours', 'python')
    ratios[`${operation}_python_vs_python`] = paired('control', 'python')
    if (samples[operation]['floor']) ratios[`${operation}_vs_floor`] = paired('ours', 'floor')
  }
  return { metrics, ratios }
}

function ourSide(client: LibvirtClient, domain: Domain): Side {
  const calls: Record<Operation, () => Promise<string>> = {
    query_status: () => client.monitorCommand(domain, '{"execute":"query-status"}'),
    guest_ping: () => client.agentCommand(domain, '{"execute":"guest-ping"}', { timeoutMs: 5000 }),
  }
  return { run: (operation, count) => time(calls[operation], count), close: async () => {} }
}

async function time(call: () => Promise<unknown>, count: number): Promise<number[]> {
  const durations: number[] = []
  for (let index = 0; index < count; index++) {
    const started = process.hrtime.bigint()
    await call()
    durations.push(Number(process.hrtime.bigint() - started) / 1e6)
  }
  return durations
}

/** @throws `ATP_BENCH_PYTHON` when python3-libvirt is missing or cannot connect. */
async function pythonSide(uri: string, uuid: string): Promise<Side & { libVersion: number }> {
  const script = `${import.meta.dirname}/libvirt-peer.py`
  const child: ChildProcessByStdio<Writable, Readable, null> = spawn('/usr/bin/python3', [script, uri, uuid], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () => {
    const line = await lines.next()
    if (!line.done) return line.value
    throw unsupportedError('ATP_BENCH_PYTHON', 'the python3-libvirt side of the benchmark ended', {
      remedy: 'install it: apt-get install python3-libvirt',
    })
  }
  const libVersion = Number(await next())
  return {
    libVersion,
    run: async (operation, count) => {
      child.stdin.write(`${operation} ${count}\n`)
      return (JSON.parse(await next()) as number[]).map((durationNs) => durationNs / 1e6)
    },
    close: async () => {
      child.stdin.end()
      await exited
    },
  }
}

/** One QMP command after the other on a Unix socket, with nothing in between. */
async function rawQmpSide(path: string): Promise<Side> {
  const socket = connect(path)
  let unfinished = ''
  let onReply: ((line: string) => void) | undefined
  let onClose: (() => void) | undefined
  socket.on('close', () => onClose?.())
  socket.setEncoding('utf8').on('data', (text: string) => {
    const lines = (unfinished + text).split('\n')
    unfinished = lines.pop() ?? ''
    for (const line of lines) if (line.includes('"return"')) onReply?.(line)
  })
  const ask = (command: string) =>
    new Promise<string>((resolve, reject) => {
      onReply = resolve
      onClose = () => reject(new Error(`${path} was closed`))
      socket.write(command)
    })
  await once(socket, 'connect')
  await ask('{"execute":"qmp_capabilities"}\n')
  return {
    run: (_, count) => time(() => ask('{"execute":"query-status"}\n'), count),
    close: async () => void socket.destroy(),
  }
}

function versionText(version: number): string {
  return `${Math.floor(version / 1_000_000)}.${Math.floor(version / 1000) % 1000}.${version % 1000}`
}
