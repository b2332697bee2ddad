/** Our libvirt client beside python3-libvirt: same VM, same transport, connections held open, rounds interleaved. */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { unsupportedError } from '../framework/core/index.ts'
import { HostConnection, type HostInfo } from '../framework/hosts/index.ts'
import { parseDomainXml, type Domain, type LibvirtClient } from '../framework/protocols/libvirt/index.ts'
import { missingHostPart, RemoteHost, tinyDomain } from '../tests/support/remote-host/index.ts'
import { median, percentile, type BenchContext, type BenchResult } from './result.ts'
import { openBenchVm } from './support/lab-vm.ts'

/** Many short rounds: what slows the machine down then slows all sides of a round. */
const ROUNDS = 60
const CALLS = 60
const WARM_UP_CALLS = 300
const REMOTE = ['tcp', 'tls'] as const
type Operation = 'query_status' | 'guest_ping'

/** Milliseconds of each of `count` sequential calls. */
type Runner = (operation: Operation, count: number) => Promise<number[]>
interface Side {
  run: Runner
  close(): Promise<void>
}
/** Per side, a list of rounds, each a list of milliseconds. */
type Samples = Record<string, number[][]>

export async function run(context: BenchContext): Promise<BenchResult> {
  const unix = await overUnix(context)
  const remote = await overNetwork(context)
  const samples = { ...unix.samples, ...remote }
  await writeFile(context.samplesFile, JSON.stringify(samples))
  return {
    name: 'libvirt',
    ...summary(samples),
    n: ROUNDS * CALLS,
    versions: unix.versions,
    qemuPids: [unix.qemuPid],
    samplesFile: context.samplesFile,
  }
}

/** A VM of the lab with its guest, over the Unix socket. */
async function overUnix(context: BenchContext) {
  const { vm, qemuPid, versions, close } = await openBenchVm('ps2', (text) => context.log(text))
  const connection = await HostConnection.open(vm.host)
  let sides: Sides | undefined
  try {
    sides = await openSides(connection, vm.host.uri, vm.uuid)
    const client = await connection.client('calls')
    const path = parseDomainXml(await client.getXml(await client.lookupByUuid(vm.uuid))).qmpSocketPaths[0]
    if (path === undefined) context.log('raw-socket floor: n/a, the VM has no QMP monitor of its own')
    const floor: Record<string, Side> = path === undefined ? {} : { floor: await rawQmpSide(path) }
    try {
      const samples = {
        query_status: await interleave(context, 'query_status', 'query_status', { ...sides.all, ...floor }),
        guest_ping: await interleave(context, 'guest_ping', 'guest_ping', sides.all),
      }
      return { samples, qemuPid, versions: { ...versions, python_libvirt: versionText(sides.libVersion) } }
    } finally {
      await floor['floor']?.close()
    }
  } finally {
    await sides?.close()
    await connection.close()
    await close()
  }
}

/** A VM without an operating system on a daemon of its own, over what it listens on. */
async function overNetwork(context: BenchContext): Promise<Record<string, Samples>> {
  const missing = missingHostPart(REMOTE)
  if (missing) throw new Error(`bench libvirt needs a daemon that listens on TCP and TLS: ${missing}`)
  const remote = await RemoteHost.start({ listen: REMOTE })
  try {
    const samples: Record<string, Samples> = {}
    for (const way of REMOTE) {
      const info: HostInfo = remote.info(way)
      const connection = await HostConnection.open(info)
      let sides: Sides | undefined
      try {
        const control = await connection.client('control')
        const { uuid } = await control.createXml(tinyDomain(`bench-${way}`), { paused: true, autodestroy: true })
        sides = await openSides(connection, info.uri, uuid)
        samples[`query_status_${way}`] = await interleave(context, `query_status_${way}`, 'query_status', sides.all)
      } finally {
        await sides?.close()
        await connection.close()
      }
    }
    return samples
  } finally {
    await remote.stop()
  }
}

interface Sides {
  all: Record<'python' | 'control' | 'ours', Side>
  libVersion: number
  close(): Promise<void>
}

/** Python twice, to see what the comparison itself is worth, and us; a connection each. */
async function openSides(connection: HostConnection, uri: string, uuid: string): Promise<Sides> {
  const client = await connection.client('calls')
  const domain = await client.lookupByUuid(uuid)
  const python = await pythonSide(uri, uuid)
  const all = { python, control: await pythonSide(uri, uuid), ours: ourSide(client, domain) }
  const close = async () => void (await Promise.all(Object.values(all).map((side) => side.close())))
  return { all, libVersion: python.libVersion, close }
}

async function interleave(
  context: BenchContext,
  title: string,
  operation: Operation,
  sides: Record<string, Side>,
): Promise<Samples> {
  const samples: Samples = {}
  const names = Object.keys(sides)
  for (const name of names) {
    samples[name] = []
    await sides[name]?.run(operation, WARM_UP_CALLS)
  }
  for (let round = 0; round < ROUNDS; round++) {
    // Another side goes first each round, so that none always meets the same moment of a drift.
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length] as string
      samples[name]?.push((await sides[name]?.run(operation, CALLS)) ?? [])
    }
    if ((round + 1) % 10 > 0) continue
    const figures = names.map((name) => `${name} ${median(samples[name]?.at(-1) ?? []).toFixed(3)}`)
    context.log(`${title} round ${round + 1}/${ROUNDS}, median ms: ${figures.join(', ')}`)
  }
  return samples
}

function summary(all: Record<string, Samples>): Pick<BenchResult, 'metrics' | 'ratios'> {
  const metrics: Record<string, number> = { rounds: ROUNDS, calls_per_round: CALLS }
  const ratios: Record<string, number> = {}
  for (const [title, samples] of Object.entries(all)) {
    const rounds = (side: string) => (samples[side] ?? []).map(median)
    const p99 = (side: string) => percentile((samples[side] ?? []).flat(), 0.99)
    for (const side of Object.keys(samples)) {
      metrics[`${side}_${title}_ms`] = median(rounds(side))
      metrics[`${side}_${title}_p99_ms`] = p99(side)
    }
    const paired = (side: string, reference: string) => {
      const references = rounds(reference)
      return median(rounds(side).map((value, round) => value / (references[round] as number)))
    }
    ratios[`${title}_vs_python`] = paired('ours', 'python')
    ratios[`${title}_vs_python_p99`] = p99('ours') / p99('python')
    ratios[`${title}_python_vs_python`] = paired('control', 'python')
    ratios[`${title}_python_vs_python_p99`] = p99('control') / p99('python')
    if (samples['floor']) ratios[`${title}_vs_floor`] = paired('ours', 'floor')
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
