import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from '@ocloudview/atp'

test.override('vmOptions', { profile: 'spice' })

test('a line goes to the guest and back', async ({ spice, guest }) => {
  const port = await spice.port('atp.port.0')
  await guest.shell('(exec 3<>/dev/virtio-ports/atp.port.0; read line <&3; echo "$line" >&3) > /dev/null 2>&1 &')
  await port.send('你好\n')
  expect(Buffer.from(await port.receive({ timeoutMs: 5000 })).toString()).toBe('你好\n')
})

test('a folder of this machine is shared', async ({ spice, onTestFinished }) => {
  const folder = await mkdtemp(join(tmpdir(), 'shared-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'for-the-guest.txt'), 'hello')
  const shared = await spice.shareFolder(folder)
  expect(shared.clients).toBe(0)
  await shared.close()
})
