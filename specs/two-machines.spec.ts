import { expect, test } from '@ocloudview/atp'

test.override('poolOptions', { vms: ['alice', 'bob'] })

test('两台虚拟机在一个测试里', { tags: ['smoke'] }, async ({ pool }) => {
  const { alice, bob } = pool.vms
  await alice!.guest.file('/tmp/from').write('alice')
  await bob!.guest.file('/tmp/from').write('bob')
  await pool.each(async (vm, role) => expect(vm.guest.file('/tmp/from')).toHaveText(role))
  expect(alice!.uuid).not.toBe(bob!.uuid)
})
