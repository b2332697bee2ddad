import { once } from 'node:events'
import { connect } from 'node:net'
import { expect, it } from 'vitest'
import { encodeLine } from '../../../framework/leases/codec.ts'
import { LabPlatform, newPlatformDoor } from '../../../framework/runner/lab-platform.ts'
import { askLabPlatform } from '../../../framework/runner/worker/ask-lab-platform.ts'

const open = async (door = newPlatformDoor()) => ({ door, platform: await LabPlatform.open(door, {}, () => {}) })

it('lets nobody in who does not know the key of the run', async () => {
  const { door, platform } = await open()
  await expect(askLabPlatform({ ...door, key: 'guessed' }, { timeoutMs: 5_000 })).rejects.toMatchObject({
    code: 'ATP_LAB_PLATFORM_START',
  })
  const socket = connect(door.path)
  socket.on('error', () => {})
  socket.write(encodeLine({ no: 'key' }))
  await once(socket, 'close')
  await platform.close()
})

it('says that the run is over', async () => {
  const { door, platform } = await open()
  await platform.close()
  await platform.close()
  await expect(askLabPlatform(door, { timeoutMs: 5_000 })).rejects.toMatchObject({
    code: 'ATP_LAB_PLATFORM_START',
    verdict: 'infrastructure',
  })
})

it('tells a worker why the platform does not start', async () => {
  const door = newPlatformDoor()
  const platform = await LabPlatform.open(door, { profile: 'abacus' }, () => {})
  await expect(askLabPlatform(door, { timeoutMs: 60_000 })).rejects.toMatchObject({
    code: 'ATP_LAB_PLATFORM_START',
    message: expect.stringMatching(/abacus/),
  })
  await platform.close()
})
