import { describe, expect, it } from 'vitest'
import {
  defaultRegistry,
  ProtocolRegistry,
  type Protocol,
  type ProtocolTarget,
} from '../../../framework/protocols/index.ts'
import { memoryPair } from '../../../framework/transport/index.ts'
import { LineFramer } from '../../../framework/protocols/framing.ts'
import { ScriptedAgent } from '../../unit/qga/scripted-agent.ts'
import { protocolContract } from './protocol-contract.ts'

const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()

/** The stand-ins of the unit tests, held to the same contract as the real peers. */
protocolContract('QGA with the scripted agent', async () => ({
  target: new ScriptedAgent() as unknown as ProtocolTarget,
  make: () => defaultRegistry().create('qga'),
  message: Buffer.from('{"execute":"guest-ping"}'),
  isAnswer: (message) => text(message) === '{"return":{}}',
  idleCode: 'ATP_QGA_NOTHING_SENT',
  end: async () => {},
}))

protocolContract('virtio-serial over a memory stream', async () => ({
  target: {
    name: 'vm-001',
    async openChannel() {
      const [here, there] = memoryPair()
      const framer = new LineFramer()
      there.start({
        onData: (chunk) => {
          for (const line of framer.push(chunk)) void there.write(framer.encode(Buffer.from(`echo ${text(line)}`)))
        },
        onClose: () => {},
      })
      return here
    },
  } as unknown as ProtocolTarget,
  make: () => defaultRegistry().create('virtio-serial:com.example.测试.0'),
  message: Buffer.from('你好'),
  isAnswer: (message) => text(message) === 'echo 你好',
  idleCode: 'ATP_TIMEOUT',
  end: async () => {},
}))

describe('ProtocolRegistry', () => {
  const dummy = (type: string) => ({ type, build: () => ({ type }) as Protocol })

  it('builds by type and by family, each time a new one', () => {
    const registry = defaultRegistry()
    expect(registry.types).toEqual(['qmp', 'qga', 'spice', 'virtio-serial'])
    expect(registry.create('qmp').type).toBe('qmp')
    expect(registry.create('qmp')).not.toBe(registry.create('qmp'))
    expect(registry.create('virtio-serial:a.b').type).toBe('virtio-serial:a.b')
    registry.register(dummy('virtio-serial:a.b'))
    expect(registry.create('virtio-serial:a.b')).toEqual({ type: 'virtio-serial:a.b' })
  })

  it('takes plug-ins while running and refuses duplicates and strangers', () => {
    const registry = new ProtocolRegistry()
    registry.register(dummy('example'))
    const built = registry.create('example')
    expect(() => registry.register(dummy('example'))).toThrow(
      expect.objectContaining({ code: 'ATP_PROTOCOL_DUPLICATE' }),
    )
    expect(registry.unregister('example')).toBe(true)
    expect(built.type).toBe('example')
    expect(() => registry.create('example')).toThrow(expect.objectContaining({ code: 'ATP_PROTOCOL_UNKNOWN' }))
    expect(() => defaultRegistry().create('virtio-serial:')).toThrow(
      expect.objectContaining({ code: 'ATP_VIRTIO_SERIAL_NAME' }),
    )
    expect(() => defaultRegistry().create('rdp')).toThrow(expect.objectContaining({ code: 'ATP_PROTOCOL_UNKNOWN' }))
  })
})
