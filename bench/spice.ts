/** SPICE sessions with one VM: opening channels, keys beside spice-gtk and QMP, typing; and many VMs from one process. */
import { writeFile } from 'node:fs/promises'
import { loadavg } from 'node:os'
import type { DesktopVm } from '../framework/desktop/index.ts'
import { HostConnection } from '../framework/hosts/index.ts'
import { spiceServer } from '../framework/hosts/spice-carriers.ts'
import { parseDomainXml } from '../framework/protocols/libvirt/index.ts'
import type { ProtocolTarget } from '../framework/protocols/protocol.ts'
import { SpiceVmConnection, type SpiceServer } from '../framework/protocols/spice/index.ts'
import { median, percentile, type BenchContext, type BenchResult } from './result.ts'
import { compare, randomText, startCounter } from './support/key-counter.ts'
import { KEY, KeyWatch, type KeySample, type KeyWay } from './support/key-latency.ts'
import { openBenchVm } from './support/lab-vm.ts'
import { manyConsoles } from './support/many-consoles.ts'
import { SpiceSide, type ConsoleAt } from './support/spice-side.ts'

const CHARACTERS = 1000
const SEED = 20_261_120
const VMS = 50
/** Sessions that are opened with all their channels, one after the other. */
const SESSIONS = 15
const ROUNDS = 12
const STROKES = 20

type Figures = Pick<BenchResult, 'metrics' | 'ratios'> & { failures: string[]; samples: Record<string, unknown> }

export async function run(context: BenchContext): Promise<BenchResult> {
  const figures: Figures = {
    metrics: { load_before: loadavg()[0] as number },
    ratios: {},
    failures: [],
    samples: {},
  }
  const { vm, qemuPid, versions, close } = await openBenchVm('spice', (text) => context.log(text))
  const host = await HostConnection.open(vm.host)
  let gtk: SpiceSide | undefined
  try {
    const domain = await (await host.client('control')).lookupByUuid(vm.uuid)
    const target = await host.target(domain)
    const console = await consoleOf(target)
    await openAllChannels(console, context, figures)
    gtk = await SpiceSide.start('gtk')
    await compareKeys(vm, target, { console, gtk }, context, figures)
    await typeText(vm, context, figures)
    versions['spice_gtk'] = gtk.version
  } finally {
    await gtk?.close()
    await host.close()
    await close()
  }
  const { passed, openMs, failures } = await manyConsoles(VMS)
  context.log(`${passed} of ${VMS} VMs with main, inputs and display`)
  figures.failures.push(...failures)
  const { metrics, ratios, samples } = figures
  Object.assign(metrics, { vms_from_one_process: passed, vm_open_p50_ms: median(openMs), load_after: loadavg()[0] })
  await writeFile(context.samplesFile, JSON.stringify(samples))
  return {
    name: 'spice',
    metrics,
    ratios,
    n: ROUNDS * STROKES * 2,
    versions,
    qemuPids: [qemuPid],
    samplesFile: context.samplesFile,
    failures: figures.failures,
  }
}

interface Console {
  at: ConsoleAt
  server: SpiceServer
}

async function consoleOf(target: ProtocolTarget): Promise<Console> {
  const { graphics } = parseDomainXml(await target.xml({ secure: true }))
  const spice = graphics.find(({ type }) => type === 'spice')
  if (!spice?.port || !spice.password) throw new Error('the VM has no SPICE console with a port and a password')
  const { port, password } = spice
  const host = '127.0.0.1'
  return {
    at: { host, port, password: password.reveal(), channels: ['main', 'inputs'] },
    server: spiceServer({ kind: 'tcp', host, port, tlsPort: undefined }, { password }),
  }
}

async function openAllChannels({ server }: Console, context: BenchContext, figures: Figures): Promise<void> {
  const { metrics, samples, failures } = figures
  const linkMs: number[] = []
  const firstMessageMs: number[] = []
  let most = 0
  for (let session = 0; session < SESSIONS; session++) {
    const connection = new SpiceVmConnection('bench', { server, reconnect: false })
    try {
      const main = await connection.connectMainChannel()
      for (const { type, id } of main.channels) await connection.openChannel(type, { id })
      await main.heartbeat(10_000)
      const open = connection.channels.filter(({ state }) => state === 'open')
      if (open.length !== connection.channels.length) failures.push(`session ${session}: not all channels stay open`)
      most = Math.max(most, open.length)
      for (const { statistics } of open) {
        linkMs.push(statistics.linkMs as number)
        // Some channels have nothing to say until something happens.
        if (statistics.firstMessageMs !== undefined) firstMessageMs.push(statistics.firstMessageMs)
      }
    } finally {
      await connection.disconnectAll()
    }
  }
  samples['link_ms'] = linkMs
  samples['first_message_ms'] = firstMessageMs
  Object.assign(metrics, {
    channels_on_one_vm: most,
    channel_open_p50_ms: median(linkMs),
    channel_open_p99_ms: percentile(linkMs, 0.99),
    first_message_p50_ms: median(firstMessageMs),
    first_message_p99_ms: percentile(firstMessageMs, 0.99),
  })
  if (most < 10) failures.push(`only ${most} channels on one VM`)
  context.log(`${linkMs.length} channels opened, p99 ${metrics['channel_open_p99_ms']?.toFixed(1)} ms`)
}

async function compareKeys(
  vm: DesktopVm,
  target: ProtocolTarget,
  { console, gtk }: { console: Console; gtk: SpiceSide },
  context: BenchContext,
  { metrics, ratios, samples }: Figures,
): Promise<void> {
  const ways: Record<string, KeyWay> = {
    ours: ourWay(console),
    gtk: {
      open: () => gtk.connect(console.at),
      send: (down) => gtk.key(KEY.scancode, down),
      close: () => gtk.disconnect(),
    },
    qmp: await qmpWay(vm, 'libvirt'),
    qmp_socket: await qmpWay(vm, 'socket'),
  }
  const names = Object.keys(ways)
  const rounds: Record<string, KeySample[][]> = Object.fromEntries(names.map((name) => [name, []]))
  await using watch = await KeyWatch.start(vm, target)
  for (let round = 0; round < ROUNDS; round++) {
    const seen: Record<string, Awaited<ReturnType<KeyWatch['measure']>>> = {}
    await watch.compareClocks()
    for (let turn = 0; turn < names.length; turn++) {
      const name = names[(round + turn) % names.length] as string
      const way = ways[name] as KeyWay
      await way.open()
      seen[name] = await watch.measure(way, STROKES)
      await way.close()
    }
    // The same two comparisons count for all ways.
    await watch.compareClocks()
    for (const name of names) rounds[name]?.push((seen[name] ?? []).map((event) => watch.sampleOf(event)))
    const medians = names.map((name) => `${name} ${median(kernel(rounds[name]?.at(-1))).toFixed(3)}`)
    context.log(`keys, round ${round + 1}/${ROUNDS}, median ms: ${medians.join(', ')}`)
  }
  samples['keys'] = rounds
  for (const name of names) {
    const all = (rounds[name] ?? []).flat()
    metrics[`key_${name}_p50_ms`] = median(kernel(all))
    metrics[`key_${name}_p99_ms`] = percentile(kernel(all), 0.99)
    metrics[`key_${name}_arrival_p50_ms`] = median(all.map(({ arrivalMs }) => arrivalMs))
    metrics['clock_bound_ms'] = median(all.map(({ boundMs }) => boundMs))
  }
  const paired = (other: string) =>
    median((rounds['ours'] ?? []).map((ours, at) => median(kernel(ours)) / median(kernel(rounds[other]?.[at]))))
  ratios['key_vs_spice_gtk'] = paired('gtk')
  ratios['key_vs_qmp'] = paired('qmp')
  ratios['key_vs_qmp_socket'] = paired('qmp_socket')
}

function kernel(samples: readonly KeySample[] = []): number[] {
  return samples.map(({ kernelMs }) => kernelMs)
}

function ourWay({ server }: Console): KeyWay {
  let connection: SpiceVmConnection | undefined
  return {
    open: async () => {
      connection = new SpiceVmConnection('bench', { server, reconnect: false })
      await connection.connectMainChannel()
      await connection.openChannel('inputs')
    },
    send: async (down) => {
      const inputs = connection?.getChannel('inputs')
      const at = process.hrtime.bigint()
      await (down ? inputs?.keyDown(KEY.scancode) : inputs?.keyUp(KEY.scancode))
      return at
    },
    close: async () => await connection?.disconnectAll(),
  }
}

async function qmpWay(vm: DesktopVm, via: 'libvirt' | 'socket'): Promise<KeyWay> {
  const qmp = await vm.qmp({ via })
  return {
    open: async () => {},
    send: async (down) => {
      const at = process.hrtime.bigint()
      const event = { type: 'key', data: { down, key: { type: 'qcode', data: KEY.qcode } } }
      await qmp.execute('input-send-event', { events: [event] })
      return at
    },
    close: async () => {},
  }
}

async function typeText(vm: DesktopVm, context: BenchContext, { metrics, samples, failures }: Figures): Promise<void> {
  const text = randomText(CHARACTERS, SEED)
  // The first input opens the session and starts the observer; that is no part of typing.
  await vm.keyboard.press('shift', { via: 'spice', verify: 'require' })
  const pressed = await startCounter(vm, 'ps2')
  const delivery = await vm.keyboard.type(text, { via: 'spice' })
  const codes = await pressed()
  const { lost, reordered } = compare(text, codes)
  samples['typed'] = { delivery, codes }
  Object.assign(metrics, {
    typed: CHARACTERS,
    typed_seen: codes.length,
    typed_lost: lost,
    typed_reordered: reordered,
    typed_keys_per_s: (CHARACTERS / delivery.durationMs) * 1000,
  })
  if (lost + reordered > 0 || codes.length !== CHARACTERS) {
    failures.push(`${codes.length} of ${CHARACTERS} characters seen, ${lost} lost, ${reordered} out of order`)
  }
  context.log(`${codes.length} of ${CHARACTERS} characters seen`)
}
