import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { GuestResponder, VirtioSerialChannel } from '../../../framework/protocols/virtio-serial/index.ts'
import { memoryPair } from '../../../framework/transport/index.ts'

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')

/** A guest's side that answers each chunk it gets as the test says. */
async function responder(answer: (text: string) => string | undefined, greeting = 'ready\n') {
  const [here, guest] = memoryPair()
  const got: string[] = []
  const say = (text: string | undefined) => text !== undefined && void guest.write(Buffer.from(text)).catch(() => {})
  guest.start({
    onData: (chunk) => {
      got.push(Buffer.from(chunk).toString())
      say(answer(got.at(-1) as string))
    },
    onClose: () => {},
  })
  const channel = new VirtioSerialChannel(here)
  const started: string[][] = []
  const open = GuestResponder.start(
    {
      openChannel: async () => channel,
      start: async (path, args) => {
        started.push([path, ...args])
        say(greeting)
      },
    },
    'atp.channel.0',
    { timeoutMs: 200 },
  )
  return { open, got, started, channel }
}

describe('GuestResponder', () => {
  it('starts the guest side on its port, after the host side is open', async () => {
    const { open, started } = await responder(() => undefined)
    await open
    expect(started[0]?.slice(-2)).toEqual(['responder', '/dev/virtio-ports/atp.channel.0'])
  })

  it('sends content in blocks and waits for each to be taken', async () => {
    const { open, got } = await responder((text) =>
      text.startsWith('put') ? 'ok\n' : got.length === 4 ? 'ok\ndone\n' : 'ok\n',
    )
    await (await open).put('/目录/f', new Uint8Array(7000))
    expect(got.map((chunk) => chunk.length)).toEqual([got[0]?.length, 3072, 3072, 856])
    expect(got[0]).toBe(`put 7000 ${sha256(new Uint8Array(7000))} ${Buffer.from('/目录/f').toString('base64')}\n`)
  })

  it('reads an answer that comes in pieces or all at once', async () => {
    const { open } = await responder((text) => (text.startsWith('run') ? 'ok\n' : 'ok\nexit 3 6\n你好'))
    expect(await (await open).run('x')).toEqual({ exitCode: 3, output: Buffer.from('你好') })
  })

  it('goes on after a refusal, in turn', async () => {
    const file = Buffer.from('内容')
    let calls = 0
    const { open } = await responder(() =>
      calls++ === 0 ? 'fail no such file \n' : `file ${file.length} ${sha256(file)}\n内容`,
    )
    const guest = await open
    const [first, second] = await Promise.allSettled([guest.get('/none'), guest.get('/some')])
    expect(first).toMatchObject({ reason: { code: 'ATP_VIRTIO_SERIAL_REFUSED', context: { reason: 'no such file' } } })
    expect(second).toMatchObject({ value: file })
    await expect(guest.put('x'.repeat(5000), file)).rejects.toMatchObject({ code: 'ATP_VIRTIO_SERIAL_REFUSED' })
    expect(await guest.get('/some')).toEqual(file)
  })

  it.each([
    ['a wrong checksum', () => `file 2 ${'0'.repeat(64)}\nab`, 'ATP_VIRTIO_SERIAL_RESPONDER'],
    ['something else', () => 'hello\n', 'ATP_VIRTIO_SERIAL_RESPONDER'],
    ['a huge size', () => `file 99999999999 ${'0'.repeat(64)}\n`, 'ATP_VIRTIO_SERIAL_RESPONDER'],
    ['an endless line', () => 'x'.repeat(5000), 'ATP_VIRTIO_SERIAL_RESPONDER'],
    ['nothing', () => undefined, 'ATP_TIMEOUT'],
  ])('closes the channel after %s', async (_, answer, code) => {
    const { open, channel } = await responder(answer)
    await expect((await open).get('/f', { timeoutMs: 100 })).rejects.toMatchObject({ code })
    expect(channel.closed).toBe(true)
  })

  it('does not start with a stranger', async () => {
    const { open, channel } = await responder(() => undefined, 'login: \n')
    await expect(open).rejects.toMatchObject({ code: 'ATP_VIRTIO_SERIAL_RESPONDER' })
    expect(channel.closed).toBe(true)
  })
})
