import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { KeyWatch } from '../../../bench/support/key-latency.ts'
import { openBenchVm } from '../../../bench/support/lab-vm.ts'
import { HostConnection } from '../../../framework/hosts/index.ts'
import { spiceServer } from '../../../framework/hosts/spice-carriers.ts'
import type { InputPath } from '../../../framework/input/api.ts'
import { KeyboardDevice, QmpInputPath, SpiceInputPath } from '../../../framework/input/index.ts'
import { parseDomainXml } from '../../../framework/protocols/libvirt/index.ts'
import { QmpClient } from '../../../framework/protocols/qmp/index.ts'
import { SpiceVmConnection } from '../../../framework/protocols/spice/index.ts'
import { reconcile } from '../../../framework/verify/index.ts'
import { DelayedServer } from './delayed-server.ts'
import { riseOf, type Reported, type Rise } from './rise.ts'

const DELAY_MS = 5
/** Pairs of presses in one calibration run. */
const PAIRS = 25

/** A VM whose keyboard is reached through a proxy, while it is observed without one. */
export interface CalibratedVm {
  /** One calibration run: what a delay of 5 ms makes of the reported latency. */
  calibrate(): Promise<Rise>
  close(): Promise<void>
}

/** @param via what goes through the proxy: the connection to libvirt that carries QMP, or the SPICE session. */
export async function calibratedVm(via: 'qmp' | 'spice'): Promise<CalibratedVm> {
  const undo: (() => Promise<void>)[] = []
  const close = async () => {
    for (const step of undo.splice(0).toReversed()) await step()
  }
  try {
    const machine = await openBenchVm('spice', () => {})
    undo.push(() => machine.close())
    const { vm } = machine
    const host = await HostConnection.open(vm.host)
    undo.push(() => host.close())
    const target = await host.target(await (await host.client('control')).lookupByUuid(vm.uuid))
    const watch = await KeyWatch.start(vm, target)
    undo.push(() => watch[Symbol.asyncDispose]())
    let proxy: DelayedServer
    let path: InputPath
    if (via === 'spice') {
      const { graphics } = parseDomainXml(await target.xml({ secure: true }))
      const { port, password } = graphics.find(({ type }) => type === 'spice') ?? {}
      if (!port || !password) throw new Error('the VM has no SPICE console with a port and a password')
      proxy = await DelayedServer.start('tcp:0', `tcp:${port}`)
      const at = { kind: 'tcp', host: '127.0.0.1', port: proxy.port, tlsPort: undefined } as const
      const connection = new SpiceVmConnection('calibration', {
        server: spiceServer(at, { password }),
        reconnect: false,
      })
      undo.push(() => connection.disconnectAll())
      await connection.connectMainChannel()
      path = new SpiceInputPath(await connection.openChannel('inputs'), 'ps2')
    } else {
      const uri = new URL(vm.host.uri)
      const socket = join(mkdtempSync(join(tmpdir(), 'atp-calibration-')), 'libvirt.sock')
      proxy = await DelayedServer.start(`unix:${socket}`, `unix:${uri.searchParams.get('socket')}`)
      uri.searchParams.set('socket', socket)
      const proxied = await HostConnection.open({ id: 'proxied', uri: uri.href })
      undo.push(() => proxied.close())
      const domain = await (await proxied.client('control')).lookupByUuid(vm.uuid)
      const qmp = await QmpClient.overLibvirt(await proxied.target(domain))
      undo.push(() => qmp.close())
      path = new QmpInputPath((...call) => qmp.execute(...call), 'ps2')
    }
    undo.push(() => proxy[Symbol.asyncDispose]())
    const { observer } = watch
    const keyboard = new KeyboardDevice({ vm: vm.name, path: () => path, observe: async () => observer, reconcile })
    const press = async (delayMs: number): Promise<Reported> => {
      await proxy.delay(delayMs)
      const { latency } = await keyboard.press('shift', { verify: 'require' })
      const held = (await proxy.delay(0)).toSorted((left, right) => left - right)
      if (!latency) throw new Error('a press without a latency')
      return { latencyMs: latency.p50Ms, boundMs: latency.boundMs, heldMs: held[Math.floor(held.length / 2)] as number }
    }
    await keyboard.press('shift', { verify: 'require' })
    return {
      close,
      calibrate: async () => {
        const [without, delayed]: [Reported[], Reported[]] = [[], []]
        for (let pair = 0; pair < PAIRS; pair++) {
          const turns = [async () => without.push(await press(0)), async () => delayed.push(await press(DELAY_MS))]
          for (const turn of pair % 2 === 0 ? turns : turns.toReversed()) await turn()
        }
        return riseOf(without, delayed)
      },
    }
  } catch (error) {
    await close()
    throw error
  }
}
