import { stateError } from '../../core/index.ts'
import type { VmState } from '../../desktop/api.ts'
import { untilHolds } from '../expectation.ts'
import { defineStep } from '../step-kind.ts'

/** The numbers a VDI platform uses for states of its VMs. */
const PLATFORM_STATUS: Partial<Record<VmState, number>> = {
  running: 1,
  shutoff: 0,
  paused: 2,
  suspended: 3,
  blocked: 5,
}

/** Words for VM states, and the numbers a VDI platform uses for them. */
const STATES: Readonly<Record<string, VmState>> = {
  running: 'running',
  shutdown: 'shutoff',
  stopped: 'shutoff',
  off: 'shutoff',
  shutoff: 'shutoff',
  paused: 'paused',
  suspended: 'paused',
  sleeping: 'suspended',
  hibernated: 'suspended',
  busy: 'blocked',
  crashed: 'crashed',
  '1': 'running',
  '0': 'shutoff',
  '2': 'paused',
  '3': 'suspended',
  '5': 'blocked',
}

export const vmConnect = defineStep({
  action: 'vm.connect',
  aliases: ['connect'],
  summary: 'Makes VMs the ones later steps act on; they must be running',
  needs: ['vm'],
  async run({ vm, call }) {
    const state = await vm.state(call)
    if (state !== 'running') {
      throw stateError('ATP_SCENARIO_VM_NOT_RUNNING', `${vm.name} cannot be connected: it is ${state}`, {
        remedy: 'start it first',
        context: { vm: vm.name, host: vm.host.id, state },
      })
    }
    return {
      note: `${vm.name} on ${vm.host.id} is running`,
      output: { name: vm.name, uuid: vm.uuid, host: vm.host.id },
    }
  },
})

export const vmDisconnect = defineStep({
  action: 'vm.disconnect',
  aliases: ['disconnect'],
  summary: 'Later steps without "on" leave these VMs alone until they are connected again',
  needs: ['vm'],
  async run({ vm, disconnect }) {
    disconnect()
    return { note: vm.name }
  },
})

export const expectVmStatus = defineStep({
  action: 'expect.vm_status',
  aliases: ['verify.domain_status', 'verify_domain_status'],
  summary: 'Waits until the VM has a state: running, shutdown, paused, …',
  params: {
    properties: { status: { enum: [...Object.keys(STATES), 0, 1, 2, 3, 5], description: 'The state to wait for' } },
    required: ['status'],
  },
  paramAliases: { expected_status: 'status' },
  needs: ['vm'],
  passive: true,
  async run(context, { status }) {
    const wanted = STATES[String(status)] as VmState
    await untilHolds(context, `${context.vm.name} is ${wanted}`, async (signal) => {
      const state = await context.vm.state({ signal, timeoutMs: context.call.timeoutMs })
      return state === wanted ? undefined : `it is ${state}`
    })
    return { note: `${context.vm.name} is ${wanted}`, output: wanted }
  },
  async runOnPlatform(context, { status }, vms) {
    const { platform, call } = context
    const wanted = STATES[String(status)] as VmState
    const names = await Promise.all(
      vms.map(async (key) => {
        let name = key
        await untilHolds(context, `${key} is ${wanted} on the platform`, async (signal) => {
          const vm = await platform.service.vm(key, { ...call, signal })
          name = vm.name
          return vm.status === PLATFORM_STATUS[wanted] ? undefined : `${name} has status ${vm.status}`
        })
        return name
      }),
    )
    return { note: `${names.join(', ')}: ${wanted} on the platform`, output: wanted }
  },
})
