import { operation, pageOf } from '../operation.ts'
import { refuse } from '../refusal.ts'
import { VM_STATUS, type SerialRow, type UsbRow, type VmRow } from '../rows.ts'
import { array, int, object, oneOf, page, PAGE, required, string, type ValueOf } from '../schema.ts'
import type { PlatformState } from '../state.ts'

const USB_VO = object('UsbInfoVO', {
  domainName: string,
  hostId: string,
  ip: string,
  memo2: string,
  own: string,
  poolId: string,
  product: string,
  productId: string,
  usbName: string,
  vendor: string,
  vendorId: string,
})
const PASS_THROUGH = object('UsbPassThroughDto', { hostId: required(string), own: string, usbName: required(string) })

function usbDevice(state: PlatformState, hostId: string, usbName: string): UsbRow {
  if (!state.world.usbPassThrough) throw refuse('unsupported', 'the hosts give no USB devices to VMs')
  const row = state.usb.all().find((device) => device.hostId === hostId && device.usbName === usbName)
  if (row) return row
  throw refuse('noSuch', `host ${hostId} has no USB device "${usbName}"`)
}

const REDIRECT = { set: 2, cancel: 3 } as const

export const USB_OPERATIONS = [
  operation({
    name: 'usb.list',
    method: 'GET',
    path: '/ocloud/v1/usb',
    query: PAGE,
    envelope: 'R',
    answer: page(USB_VO),
    handle: (call) =>
      pageOf(call, call.state.usb.all(), ({ id: _, ...row }) => {
        const { state } = call
        const domainName = row.own === undefined ? undefined : state.vms.get(row.own)?.name
        return { ...row, domainName, ip: state.hosts.get(row.hostId)?.ip, poolId: state.resourcePoolId }
      }),
  }),
  operation({
    name: 'usb.passThrough',
    method: 'POST',
    path: '/ocloud/v1/usb/pass-through',
    body: PASS_THROUGH,
    envelope: 'B',
    handle({ state, body }) {
      const device = usbDevice(state, body.hostId, body.usbName)
      if (body.own === undefined) throw refuse('missingField', 'own is missing')
      const row = state.vm(body.own)
      if (device.own !== undefined) throw refuse('wrongState', `"${device.usbName}" belongs to a VM already`)
      if (row.hostId !== device.hostId) throw refuse('wrongState', `"${row.name}" is on another host`)
      state.usb.change(device.id, { own: row.id, memo2: '0' })
    },
  }),
  operation({
    name: 'usb.endPassThrough',
    method: 'POST',
    path: '/ocloud/v1/usb/pass-through/delete',
    body: PASS_THROUGH,
    envelope: 'B',
    handle({ state, body }) {
      const device = usbDevice(state, body.hostId, body.usbName)
      if (device.own === undefined) throw refuse('wrongState', `"${device.usbName}" belongs to no VM`)
      state.usb.change(device.id, { own: undefined })
    },
  }),
  operation({
    name: 'usb.redirect',
    method: 'POST',
    path: '/ocloud/v1/usb/redirect',
    body: object('UsbRedirectDto', {
      deviceName: required(string),
      domainId: required(string),
      hostId: required(string),
      hostIp: required(string),
      operate: required(oneOf(REDIRECT.set, REDIRECT.cancel)),
    }),
    envelope: 'B',
    handle({ state, body }) {
      const device = usbDevice(state, body.hostId, body.deviceName)
      const row = state.vm(body.domainId)
      if (body.operate === REDIRECT.cancel) {
        if (device.own !== row.id) throw refuse('wrongState', `"${device.usbName}" is not redirected to "${row.name}"`)
        state.usb.change(device.id, { own: undefined, memo2: '0' })
        return
      }
      if (device.own !== undefined) throw refuse('wrongState', `"${device.usbName}" belongs to a VM already`)
      state.usb.change(device.id, { own: row.id, memo2: '1' })
    },
  }),
]

const SERIAL_MODEL = { linkVm: 0, linkHost: 1, standalone: 2 } as const
const SERIAL = object('DomainSerialAddDto', {
  serialModel: oneOf(0, 1, 2),
  sourcePort: string,
  targetPort: string,
  targetServer: string,
})
const SERIAL_VO = object('DomainSerialDeviceVO', {
  comNum: string,
  domainId: string,
  enable: int,
  id: int,
  serialModel: int,
  serverClient: int,
  showPort: string,
  sourcePort: string,
  targetPort: string,
  targetServer: string,
  targetServerName: string,
})
/** A PC has four ports; the first is the lab's console. */
const MOST_SERIALS = 3

function serialView(state: PlatformState, row: VmRow, serial: SerialRow): ValueOf<typeof SERIAL_VO> {
  const place = row.serials.indexOf(serial) + 2
  const target = serial.targetServer === undefined ? undefined : state.vms.get(serial.targetServer)?.name
  return {
    ...serial,
    domainId: row.id,
    comNum: `COM${place}`,
    showPort: `COM${place}`,
    enable: 1,
    serverClient: 0,
    targetServerName: target,
  }
}

function assertPossible(state: PlatformState, { serialModel, targetServer }: ValueOf<typeof SERIAL>): number {
  if (serialModel === undefined) throw refuse('missingField', 'serialModel is missing')
  if (serialModel === SERIAL_MODEL.standalone) return serialModel
  if (!state.world.serialLinks) throw refuse('unsupported', 'the hosts link no serial ports')
  if (targetServer === undefined) throw refuse('missingField', 'targetServer is missing')
  if (serialModel === SERIAL_MODEL.linkVm) state.vm(targetServer)
  else state.host(targetServer)
  return serialModel
}

/** Serial ports are part of the machine: they change while it is off. */
async function changeSerials(state: PlatformState, row: VmRow, operation: string, serials: SerialRow[]): Promise<void> {
  if (row.status !== VM_STATUS.off) throw refuse('wrongState', `"${row.name}" must be off to change its serial ports`)
  const before = row.serials
  await state.machines.doNow(operation, row, VM_STATUS.off, async (signal) => {
    state.vms.change(row.id, { serials })
    try {
      await state.world.change(state.machines.worldVm(row), { signal })
    } catch (error) {
      state.vms.change(row.id, { serials: before })
      throw error
    }
  })
}

function serialOf(row: VmRow, id: string): SerialRow {
  const serial = row.serials.find((one) => String(one.id) === id)
  if (serial) return serial
  throw refuse('noSuch', `"${row.name}" has no serial port ${id}`)
}

export const SERIAL_OPERATIONS = [
  operation({
    name: 'serial.list',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/serial',
    envelope: 'R',
    answer: array(SERIAL_VO),
    handle({ state, path }) {
      const row = state.vm(path['id'] as string)
      return row.serials.map((serial) => serialView(state, row, serial))
    },
  }),
  operation({
    name: 'serial.create',
    method: 'POST',
    path: '/ocloud/v1/domain/{id}/serial',
    body: SERIAL,
    envelope: 'B',
    async handle({ state, path, body }) {
      const row = state.vm(path['id'] as string)
      const serialModel = assertPossible(state, body)
      if (row.serials.length >= MOST_SERIALS) throw refuse('full', `"${row.name}" has ${MOST_SERIALS} serial ports`)
      const id = 1 + Math.max(0, ...state.vms.all().flatMap((vm) => vm.serials.map((serial) => serial.id)))
      await changeSerials(state, row, 'serial.create', [...row.serials, { ...body, id, serialModel }])
    },
  }),
  operation({
    name: 'serial.update',
    method: 'PUT',
    path: '/ocloud/v1/domain/{domainId}/serial/{serialId}',
    body: SERIAL,
    envelope: 'B',
    async handle({ state, path, body }) {
      const row = state.vm(path['domainId'] as string)
      const serial = serialOf(row, path['serialId'] as string)
      const changed = { ...body, id: serial.id, serialModel: assertPossible(state, body) }
      await changeSerials(
        state,
        row,
        'serial.update',
        row.serials.map((one) => (one.id === serial.id ? changed : one)),
      )
    },
  }),
  operation({
    name: 'serial.delete',
    method: 'DELETE',
    path: '/ocloud/v1/domain/{domainId}/serial/{serialId}',
    envelope: 'B',
    async handle({ state, path }) {
      const row = state.vm(path['domainId'] as string)
      const { id } = serialOf(row, path['serialId'] as string)
      await changeSerials(
        state,
        row,
        'serial.delete',
        row.serials.filter((one) => one.id !== id),
      )
    },
  }),
  operation({
    name: 'serial.targets',
    method: 'GET',
    path: '/ocloud/v1/domain/{id}/server-serial',
    envelope: 'R',
    answer: array(
      object('ServerSerialVO', {
        id: string,
        name: string,
        portList: array(object('Port', { showPort: string, sourcePort: string })),
      }),
    ),
    handle({ state, path }) {
      const { id } = state.vm(path['id'] as string)
      return state.domains().flatMap((row) => {
        const ports = row.serials.filter((serial) => serial.serialModel === SERIAL_MODEL.standalone)
        if (row.id === id || ports.length === 0) return []
        const portList = ports.map((serial) => {
          const { showPort, sourcePort } = serialView(state, row, serial)
          return { showPort, sourcePort }
        })
        return [{ id: row.id, name: row.name, portList }]
      })
    },
  }),
]
