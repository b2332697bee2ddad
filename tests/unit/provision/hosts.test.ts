import { expect, it } from 'vitest'
import { type HostRules, reachOf } from '../../../framework/provision/index.ts'
import type { HostVO } from '../../../framework/vdi/index.ts'

const host: HostVO = { id: 'b7e2', name: '主机-1', ip: '10.0.0.1', status: 1 }
const configured = (id: string, uri: string) => ({ id, uri, settings: () => ({ id, uri }) })

function reach(rules: Partial<HostRules>, changes: Partial<HostVO> = {}) {
  const all = { hosts: {}, configured: [], hostUri: 'qemu+ssh://root@{ip}/system', ...rules }
  const { id, uri } = reachOf({ ...host, ...changes }, all)
  return { id, uri }
}

const kvm = configured('kvm', 'qemu+tls://kvm.example/system')
const byAddress = configured('other', 'qemu+tls://10.0.0.1:16514/system')

it.each(['b7e2', '主机-1', '10.0.0.1'])('the map goes first, by %s', (key) => {
  expect(reach({ hosts: { [key]: 'kvm' }, configured: [byAddress, kvm] })).toMatchObject({ id: 'kvm' })
})

it('then a configured host with its name, then one whose URI leads to it', () => {
  const named = configured('主机-1', 'qemu:///system')
  expect(reach({ configured: [byAddress, kvm, named] })).toEqual({ id: '主机-1', uri: 'qemu:///system' })
  expect(reach({ configured: [kvm, byAddress] })).toMatchObject({ id: 'other' })
})

it('then the pattern, with its id, name and address', () => {
  expect(reach({ configured: [kvm] })).toEqual({ id: '主机-1', uri: 'qemu+ssh://root@10.0.0.1/system' })
  expect(reach({ hostUri: 'qemu+tls://{name}.{id}/system' }, { name: 'a' }).uri).toBe('qemu+tls://a.b7e2/system')
  expect(reach({}, { ip: 'fd00::1' }).uri).toBe('qemu+ssh://root@[fd00::1]/system')
})

it('several that may be it, and one that is not there, are errors', () => {
  const twice = [byAddress, configured('third', 'qemu+ssh://root@10.0.0.1/system')]
  expect(() => reach({ configured: twice })).toThrow(
    /may be any of other, third[^]*vdi\.hosts: \{ '主机-1': 'other' \}/,
  )
  expect(() => reach({ hosts: { '10.0.0.1': 'kvn' }, configured: [kvm] })).toThrow(/"kvn"[^]*did you mean "kvm"/)
})
