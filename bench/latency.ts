/** Injection → guest's kernel: ATP beside a minimal hand-written probe, on each path to one VM. */
import { writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { describeOwnShare, measureOwnShare, type DesktopVm } from '../framework/desktop/index.ts'
import { HostConnection } from '../framework/hosts/index.ts'
import { spiceServer } from '../framework/hosts/spice-carriers.ts'
import type { InputPath } from '../framework/input/api.ts'
import { KeyboardDevice, QmpInputPath, SpiceInputPath } from '../framework/input/index.ts'
import { parseDomainXml, type DomainXml } from '../framework/protocols/libvirt/index.ts'
import { SpiceVmConnection } from '../framework/protocols/spice/index.ts'
import { reconcile } from '../framework/verify/index.ts'
import { median, percentile, type BenchContext, type BenchResult } from './result.ts'
import { HandProbe, type HandWay } from './support/hand-probe.ts'
import { KeyWatch } from './support/key-latency.ts'
import { openBenchVm } from './support/lab-vm.ts'

/** Each round measures both sides of every path, in turns of so many presses; the first press of a turn is a warm-up. */
const ROUNDS = 24
const PRESSES = 12

/** One path, both ways to it. */
interface Compared {
  /** As the report calls it. */
  path: 'qmp' | 'qmp-socket' | 'spice'
  hand: HandWay
  /** Opens our side for one turn. */
  ours(): Promise<{ path: InputPath; close(): Promise<void> }>
}

interface Sample {
  latencyMs: number
  boundMs: number
}

export async function run(context: BenchContext): Promise<BenchResult> {
  const loadBefore = loadavg()[0] as number
  const own = await measureOwnShare()
  context.log(`ATP's own share: ${describeOwnShare(own)}`)
  const { vm, qemuPid, versions, close } = await openBenchVm('spice', (text) => context.log(text))
  const host = await HostConnection.open(vm.host)
  const samples: Record<string, { atp: Sample[][]; probe: Sample[][] }> = {}
  try {
    const target = await host.target(await (await host.client('control')).lookupByUuid(vm.uuid))
    await using watch = await KeyWatch.start(vm, target)
    await using probe = new HandProbe()
    const paths = await pathsOf(vm, parseDomainXml(await target.xml({ secure: true })))
    for (const { path } of paths) samples[path] = { atp: [], probe: [] }
    for (let round = 0; round < ROUNDS; round++) {
      for (const compared of paths) {
        const of = samples[compared.path] as (typeof samples)[string]
        const turns = [
          async () => void of.atp.push(await pressOurs(compared, watch)),
          async () => void of.probe.push(await pressByHand(compared, watch, probe)),
        ]
        for (const turn of round % 2 === 0 ? turns : turns.toReversed()) await turn()
      }
      const shown = paths.map(({ path }) => {
        const [atp, hand] = [samples[path]?.atp.at(-1), samples[path]?.probe.at(-1)].map((turn) => median(values(turn)))
        return `${path} ${atp?.toFixed(3)} (by hand ${hand?.toFixed(3)})`
      })
      context.log(`round ${round + 1}/${ROUNDS}, median ms: ${shown.join(', ')}`)
    }
  } finally {
    await host.close()
    await close()
  }
  await writeFile(context.samplesFile, JSON.stringify({ own, samples }))
  const figures = figuresOf(samples)
  return {
    name: 'latency',
    metrics: {
      ...figures.metrics,
      own_share_of_latency_p50_ms: own.request.p50Ms,
      own_share_of_latency_p99_ms: own.request.p99Ms,
      own_share_of_press_p50_ms: own.action.p50Ms,
      load_before: loadBefore,
      load_after: loadavg()[0] as number,
    },
    ratios: figures.ratios,
    n: Object.values(samples).reduce((sum, { atp }) => sum + atp.flat().length, 0),
    versions,
    qemuPids: [qemuPid],
    samplesFile: context.samplesFile,
  }
}

/**
 * `atp_vs_probe` is the worst of all paths; a path's is the median over the rounds of the quotient of both sides' medians,
 * so that what slows the machine for a while slows both.
 */
function figuresOf(
  samples: Record<string, { atp: Sample[][]; probe: Sample[][] }>,
): Pick<BenchResult, 'metrics' | 'ratios'> {
  const metrics: Record<string, number> = {}
  const ratios: Record<string, number> = {}
  const all: Sample[] = []
  for (const [path, { atp, probe }] of Object.entries(samples)) {
    const key = path.replaceAll('-', '_')
    all.push(...atp.flat())
    metrics[`${key}_p50_ms`] = median(values(atp.flat()))
    metrics[`${key}_p95_ms`] = percentile(values(atp.flat()), 0.95)
    metrics[`${key}_p99_ms`] = percentile(values(atp.flat()), 0.99)
    metrics[`${key}_probe_p50_ms`] = median(values(probe.flat()))
    ratios[`${key}_vs_probe`] = median(atp.map((turn, at) => median(values(turn)) / median(values(probe[at]))))
  }
  ratios['atp_vs_probe'] = Math.max(...Object.values(ratios))
  metrics['p99_ms'] = Math.max(
    ...Object.keys(samples).map((path) => metrics[`${path.replaceAll('-', '_')}_p99_ms`] as number),
  )
  metrics['offset_error_ms'] = median(all.map(({ boundMs }) => boundMs))
  return { metrics, ratios }
}

const values = (samples: readonly Sample[] = []) => samples.map(({ latencyMs }) => latencyMs)

async function pathsOf(vm: DesktopVm, xml: DomainXml): Promise<Compared[]> {
  const spice = xml.graphics.find(({ type }) => type === 'spice')
  const [socketPath] = xml.qmpSocketPaths
  if (!spice?.port || !spice.password) throw new Error('the VM has no SPICE console with a port and a password')
  if (socketPath === undefined) throw new Error('the VM has no QMP socket of its own')
  const monitor = await vm.qmp()
  const at = { host: '127.0.0.1', port: spice.port }
  const { password } = spice
  return [
    {
      path: 'qmp',
      hand: { open: 'libvirt', with: { uri: vm.host.uri, uuid: vm.uuid } },
      ours: async () => ({
        path: new QmpInputPath((...call) => monitor.execute(...call), 'ps2'),
        close: async () => {},
      }),
    },
    {
      path: 'qmp-socket',
      hand: { open: 'socket', with: { path: socketPath } },
      // QEMU speaks to one client at a time.
      ours: async () => {
        const socket = await vm.qmp({ via: 'socket' })
        const path = new QmpInputPath((...call) => socket.execute(...call), 'ps2', 'qmp-socket')
        return { path, close: () => socket.close() }
      },
    },
    {
      path: 'spice',
      hand: { open: 'spice', with: { ...at, password: password.reveal() } },
      // A server ends a session when another one begins.
      ours: async () => {
        const server = spiceServer({ kind: 'tcp', ...at, tlsPort: undefined }, { password })
        const connection = new SpiceVmConnection('bench', { server, reconnect: false })
        await connection.connectMainChannel()
        const inputs = await connection.openChannel('inputs')
        return { path: new SpiceInputPath(inputs, 'ps2'), close: () => connection.disconnectAll() }
      },
    },
  ]
}

/** As an author presses it, from the keyboard down; only the VM's own set-up of path and observer is left out. */
async function pressOurs({ ours }: Compared, { observer }: KeyWatch): Promise<Sample[]> {
  const { path, close } = await ours()
  try {
    const keyboard = new KeyboardDevice({ vm: 'bench', path: () => path, observe: async () => observer, reconcile })
    const samples: Sample[] = []
    for (let press = 0; press < PRESSES; press++) {
      const { latency } = await keyboard.press('shift', { verify: 'require' })
      // The observer's very first is its warm-up, and has none.
      if (press > 0 && latency) samples.push({ latencyMs: latency.p50Ms, boundMs: latency.boundMs })
    }
    return samples
  } finally {
    await close()
  }
}

/** The guest's clock is compared before and after each press, as for ours. */
async function pressByHand({ hand }: Compared, watch: KeyWatch, probe: HandProbe): Promise<Sample[]> {
  await probe.open(hand)
  try {
    const samples: Sample[] = []
    for (let press = 0; press < PRESSES; press++) {
      const { kernelMs, boundMs } = await watch.press(() => probe.press())
      if (press > 0) samples.push({ latencyMs: kernelMs, boundMs })
    }
    return samples
  } finally {
    await probe.close()
  }
}
