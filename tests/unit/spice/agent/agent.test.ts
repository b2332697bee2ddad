import { describe, expect, it } from 'vitest'
import { SpiceAgent, type AgentCapability } from '../../../../framework/protocols/spice/agent/index.ts'
import { AGENT_MESSAGE, CLIPBOARD_TYPE, FILE_STATUS } from '../../../../framework/protocols/spice/agent/numbers.ts'
import { StandInAgent } from './stand-in-agent.ts'

const TEXT = CLIPBOARD_TYPE.utf8Text
const LINUX = ['clipboardByDemand', 'clipboardSelection', 'monitorsConfig', 'reply', 'guestLineendLf'] as const
const WINDOWS = ['clipboardByDemand', 'guestLineendCrlf'] as const
const soon = { timeoutMs: 50 }
const bytesOf = (text: string) => new TextEncoder().encode(text)
const u32 = (bytes: Uint8Array, at: number) => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at, true)

function connected(capabilities: readonly AgentCapability[] = LINUX) {
  const guest = new StandInAgent(capabilities)
  const agent = new SpiceAgent(guest.carrier)
  guest.connect()
  return { guest, agent }
}

describe('an agent', () => {
  it('is waited for, may go, and come again', async () => {
    const guest = new StandInAgent(LINUX)
    const agent = new SpiceAgent(guest.carrier)
    await expect(agent.ready(soon)).rejects.toMatchObject({ code: 'ATP_SPICE_AGENT_ABSENT' })
    expect(agent.connected).toBe(false)
    const ready = agent.ready()
    guest.connect()
    expect([...(await ready)].toSorted()).toEqual([...LINUX].toSorted())
    guest.leave()
    expect(agent.connected).toBe(false)
    await expect(agent.setMonitors([{ width: 1, height: 1 }], soon)).rejects.toMatchObject({
      code: 'ATP_SPICE_AGENT_ABSENT',
    })
    guest.connect()
    await agent.ready()
    expect(agent.connected).toBe(true)
  })

  it('that was there before is heard, too, and asks what a client can do', async () => {
    const guest = new StandInAgent(LINUX)
    guest.carrier.agentConnected = true
    const agent = new SpiceAgent(guest.carrier)
    await agent.ready()
    guest.say(AGENT_MESSAGE.announceCapabilities, 1, 0)
    expect((await agent.ready()).size).toBeGreaterThan(0)
  })

  it('that talks nonsense is not listened to until it comes again', async () => {
    const { guest, agent } = connected()
    await agent.ready()
    guest.sayBytes(new Uint8Array(40).fill(9))
    await expect(agent.ready()).rejects.toMatchObject({ code: 'ATP_SPICE_AGENT', branch: 'protocol' })
    guest.leave()
    guest.connect()
    await agent.ready()
  })

  it('is told how monitors shall stand, height before width, and answers', async () => {
    const { guest, agent } = connected()
    const replies: boolean[] = []
    agent.onMonitorsReply = (taken) => replies.push(taken)
    await agent.setMonitors([
      { width: 800, height: 600 },
      { width: 1024, height: 768 },
    ])
    await agent.setMonitors([{ width: 10, height: 20, x: -5, y: 7 }])
    await agent.setDisplay(['disableWallpaper', 'disableAnimation'])
    await agent.setMaxClipboard(-1)
    const words = guest.heard.map(({ type, body }) => [type, ...new Int32Array(body.slice().buffer)])
    expect(words).toEqual([
      [2, 2, 1, 600, 800, 32, 0, 0, 768, 1024, 32, 800, 0],
      [2, 1, 1, 20, 10, 32, -5, 7],
      [5, 5, 0],
      [14, -1],
    ])
    guest.say(AGENT_MESSAGE.reply, AGENT_MESSAGE.monitorsConfig, 1)
    guest.say(AGENT_MESSAGE.reply, AGENT_MESSAGE.monitorsConfig, 2)
    expect(replies).toEqual([true, false])
    for (const bad of [[], [{ width: 0, height: 1 }], [{ width: 1, height: 1, x: 0.5 }]]) {
      await expect(agent.setMonitors(bad)).rejects.toMatchObject({ code: 'ATP_SPICE_MONITORS' })
    }
  })

  it('gets whole messages in turn, also of callers who gave up', async () => {
    const { guest, agent } = connected()
    await agent.ready()
    guest.stuck = true
    await expect(agent.setMaxClipboard(1, soon)).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    guest.leave()
    guest.stuck = false
    guest.connect()
    await agent.setMaxClipboard(2)
    expect(guest.heard.map(({ body }) => u32(body, 0))).toEqual([2])
  })
})

describe('a clipboard', () => {
  it('gives the guest what was copied here', async () => {
    const { guest, agent } = connected()
    await agent.clipboard.write('你好\r\n“clipboard”')
    expect(guest.heard[0]).toEqual({ type: AGENT_MESSAGE.clipboardGrab, body: Uint8Array.of(0, 0, 0, 0, 1, 0, 0, 0) })
    guest.say(AGENT_MESSAGE.clipboardRequest, 0, TEXT)
    await expect.poll(() => guest.heard.length).toBe(2)
    expect(u32(guest.heard[1]!.body, 4)).toBe(TEXT)
    expect(new TextDecoder().decode(guest.heard[1]!.body.subarray(8))).toBe('你好\r\n“clipboard”')
    // Pictures and other selections are answered, too: the guest waits.
    guest.say(AGENT_MESSAGE.clipboardRequest, 0, CLIPBOARD_TYPE.png)
    guest.say(AGENT_MESSAGE.clipboardRequest, 1, TEXT)
    await expect.poll(() => guest.heard.length).toBe(4)
    expect(guest.heard.slice(2).map(({ body }) => [...body])).toEqual([
      [0, 0, 0, 0, 0, 0, 0, 0],
      [1, 0, 0, 0, 0, 0, 0, 0],
    ])
  })

  it('brings what was copied there, once it was', async () => {
    const { guest, agent } = connected()
    guest.onMessage = (type) => {
      if (type === AGENT_MESSAGE.clipboardRequest) guest.say(AGENT_MESSAGE.clipboard, 0, TEXT, bytesOf('桌面 desktop'))
    }
    await expect(agent.clipboard.read(soon)).rejects.toMatchObject({ code: 'ATP_SPICE_CLIPBOARD_EMPTY' })
    const early = agent.clipboard.read()
    guest.say(AGENT_MESSAGE.clipboardGrab, 0, CLIPBOARD_TYPE.png, TEXT)
    expect(await early).toBe('桌面 desktop')
    expect(await agent.clipboard.read()).toBe('桌面 desktop')
    // Another selection changes nothing, pictures have no text, and what is released is no more.
    guest.say(AGENT_MESSAGE.clipboardGrab, 1, CLIPBOARD_TYPE.png)
    expect(await agent.clipboard.read()).toBe('桌面 desktop')
    guest.say(AGENT_MESSAGE.clipboardGrab, 0, CLIPBOARD_TYPE.png)
    await expect(agent.clipboard.read(soon)).rejects.toThrow('it holds no text')
    guest.say(AGENT_MESSAGE.clipboardRelease, 0)
    await expect(agent.clipboard.read(soon)).rejects.toThrow('it holds nothing')
  })

  it('asks once at a time, and says when it gets nothing', async () => {
    const { guest, agent } = connected()
    await agent.ready()
    guest.say(AGENT_MESSAGE.clipboardGrab, 0, TEXT)
    await expect(agent.clipboard.read(soon)).rejects.toThrow('it was not delivered')
    const both = [agent.clipboard.read(), agent.clipboard.read()]
    await new Promise((resolve) => setImmediate(resolve))
    guest.say(AGENT_MESSAGE.clipboard, 0, TEXT, bytesOf('late'))
    expect(await Promise.all(both)).toEqual(['late', 'late'])
    expect(guest.heard.filter(({ type }) => type === AGENT_MESSAGE.clipboardRequest)).toHaveLength(1)
    const refused = agent.clipboard.read()
    await expect.poll(() => guest.heard.length).toBe(2)
    guest.say(AGENT_MESSAGE.clipboard, 0, CLIPBOARD_TYPE.none)
    await expect(refused).rejects.toThrow('its owner did not give it')
    const lost = agent.clipboard.read()
    await expect.poll(() => guest.heard.length).toBe(3)
    guest.leave()
    await expect(lost).rejects.toMatchObject({ code: 'ATP_SPICE_AGENT_GONE' })
  })

  it('speaks as Windows does to Windows', async () => {
    const { guest, agent } = connected(WINDOWS)
    guest.onMessage = (type) => {
      if (type === AGENT_MESSAGE.clipboardRequest) guest.say(AGENT_MESSAGE.clipboard, TEXT, bytesOf('a\r\nb'))
    }
    await agent.clipboard.write('1\n2\r\n3')
    guest.say(AGENT_MESSAGE.clipboardRequest, TEXT)
    await expect.poll(() => guest.heard.length).toBe(2)
    expect(new TextDecoder().decode(guest.heard[1]!.body.subarray(4))).toBe('1\r\n2\r\n3')
    guest.say(AGENT_MESSAGE.clipboardGrab, TEXT)
    expect(await agent.clipboard.read()).toBe('a\nb')
  })

  it('needs an agent that has one, and text that fits', async () => {
    const { agent } = connected(['reply'])
    await expect(agent.clipboard.write('x')).rejects.toMatchObject({ code: 'ATP_SPICE_AGENT_CANNOT' })
    await expect(agent.clipboard.write('x'.repeat(17 << 20))).rejects.toMatchObject({
      code: 'ATP_SPICE_CLIPBOARD_SIZE',
    })
  })
})

describe('a file', () => {
  /** Takes files as an agent does. */
  function receiver(guest: StandInAgent, { endAfter = Infinity, end = FILE_STATUS.success as number } = {}) {
    const file = { start: '', parts: 0, bytes: Buffer.alloc(0), cancelled: false }
    guest.onMessage = (type, body) => {
      const id = u32(body, 0)
      if (type === AGENT_MESSAGE.fileXferStart) {
        file.start = new TextDecoder().decode(body.subarray(4))
        guest.say(AGENT_MESSAGE.fileXferStatus, id, FILE_STATUS.canSendData)
      } else if (type === AGENT_MESSAGE.fileXferData) {
        file.parts++
        file.bytes = Buffer.concat([file.bytes, body.subarray(12)])
        const size = Number(/size=(\d+)/.exec(file.start)?.[1])
        if (file.parts === endAfter || file.bytes.length === size) guest.say(AGENT_MESSAGE.fileXferStatus, id, end)
      } else if (type === AGENT_MESSAGE.fileXferStatus) file.cancelled = u32(body, 4) === FILE_STATUS.cancelled
    }
    return file
  }

  it('arrives whole, whatever its size and name', async () => {
    const { guest, agent } = connected()
    for (const [name, sizeBytes, parts] of [
      ['空.txt', 0, 1],
      [' a\\b=c\n'.replace('\\', ''), 65_536, 1],
      ['big', 200_000, 4],
    ] as const) {
      const file = receiver(guest)
      const bytes = Uint8Array.from({ length: sizeBytes }, (_, index) => (index * 31) >> 3)
      await agent.sendFile(name, sizeBytes === 200_000 ? new Blob([bytes]) : bytes)
      expect(file.bytes.equals(bytes)).toBe(true)
      expect(file.parts).toBe(parts)
      expect(file.start).toBe(
        `[vdagent-file-xfer]\nname=${name.replace('\n', '\\n').replace(/^ /, '\\s')}\nsize=${sizeBytes}\n\0`,
      )
    }
  })

  it('that is not taken says why', async () => {
    const { guest, agent } = connected()
    const file = receiver(guest, { endAfter: 2, end: FILE_STATUS.notEnoughSpace })
    const big = new Uint8Array(300_000)
    await expect(agent.sendFile('big', big)).rejects.toMatchObject({
      code: 'ATP_SPICE_FILE_REFUSED',
      context: { status: 'notEnoughSpace' },
    })
    expect(file.parts).toBeLessThan(5)
    guest.onMessage = (type, body) => {
      if (type === AGENT_MESSAGE.fileXferStart) guest.say(AGENT_MESSAGE.fileXferStatus, u32(body, 0), 4, 7, 0)
    }
    await expect(agent.sendFile('big', big)).rejects.toThrow('notEnoughSpace, 7 bytes are free')
    guest.onMessage = undefined
    await expect(agent.sendFile('big', big, soon)).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    await expect.poll(() => guest.heard.at(-1)?.type).toBe(AGENT_MESSAGE.fileXferStatus)
    const cut = agent.sendFile('big', big)
    guest.leave()
    await expect(cut).rejects.toMatchObject({ code: 'ATP_SPICE_AGENT_GONE' })
    for (const name of ['', '..', 'a/b', 'a\\b', 'é'.repeat(128)]) {
      await expect(agent.sendFile(name, big)).rejects.toMatchObject({ code: 'ATP_SPICE_FILE_NAME' })
    }
  })

  it('needs an agent that takes files', async () => {
    const guest = new StandInAgent(['fileXferDisabled'])
    const agent = new SpiceAgent(guest.carrier)
    guest.connect()
    await expect(agent.sendFile('a', new Uint8Array(1))).rejects.toMatchObject({ code: 'ATP_SPICE_AGENT_CANNOT' })
  })
})
