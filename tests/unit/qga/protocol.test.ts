import { beforeEach, describe, expect, it } from 'vitest'
import { QgaProtocolBuilder, type QgaProtocol } from '../../../framework/protocols/qga/index.ts'
import type { ProtocolTarget } from '../../../framework/protocols/protocol.ts'
import { ScriptedAgent, silence } from './scripted-agent.ts'

const command = (execute: string, args?: object) => Buffer.from(JSON.stringify({ execute, arguments: args }))
const text = (bytes: Uint8Array) => Buffer.from(bytes).toString()

let agent: ScriptedAgent
let qga: QgaProtocol
beforeEach(async () => {
  agent = new ScriptedAgent()
  qga = new QgaProtocolBuilder({ timeoutMs: 500 }).build()
  await qga.connect(agent as unknown as ProtocolTarget)
})

describe('QgaProtocol', () => {
  it('answers in the order of the sends, refusals included', async () => {
    await qga.send(command('guest-ping'))
    await qga.send(command('guest-none'))
    await qga.send(command('guest-sync', { id: 7 }))
    expect(text(await qga.receive())).toBe('{"return":{}}')
    expect(JSON.parse(text(await qga.receive()))).toEqual({
      error: { class: 'GenericError', desc: 'The command guest-none has not been found' },
    })
    expect(text(await qga.receive())).toBe('{"return":7}')
  })

  it('does not wait for an answer nobody owes', async () => {
    await expect(qga.receive()).rejects.toMatchObject({ code: 'ATP_QGA_NOTHING_SENT' })
  })

  it('keeps an answer that came too late for its first reader', async () => {
    let release = () => {}
    agent.answer('guest-slow', () => new Promise((resolve) => (release = () => resolve('late'))))
    await qga.send(command('guest-slow'))
    await expect(qga.receive({ timeoutMs: 5 })).rejects.toMatchObject({ code: 'ATP_TIMEOUT' })
    release()
    expect(text(await qga.receive())).toBe('{"return":"late"}')
  })

  it('rejects the receive whose command failed on the way', async () => {
    agent.answer('guest-silent', silence)
    await qga.send(command('guest-silent'), { timeoutMs: 5 })
    await qga.send(command('guest-ping'))
    await expect(qga.receive()).rejects.toMatchObject({ branch: 'timeout' })
    expect(text(await qga.receive())).toBe('{"return":{}}')
  })

  it('bounds unread answers and refuses what is no command', async () => {
    for (let i = 0; i < 64; i++) await qga.send(command('guest-ping'))
    await expect(qga.send(command('guest-ping'))).rejects.toMatchObject({ code: 'ATP_QGA_UNREAD' })
    for (const bad of ['', 'guest-ping', '[]', '{}', 'null']) {
      await expect(qga.send(Buffer.from(bad))).rejects.toMatchObject({ code: 'ATP_QGA_COMMAND', branch: 'config' })
    }
  })

  it('is not connected to an agent that is out of step', async () => {
    agent.answer('guest-sync', () => 0)
    const other = new QgaProtocolBuilder().build()
    await expect(other.connect(agent as unknown as ProtocolTarget)).rejects.toMatchObject({ code: 'ATP_QGA_PROTOCOL' })
    expect(other.isConnected()).toBe(false)
    await expect(other.send(command('guest-ping'))).rejects.toMatchObject({ code: 'ATP_QGA_CLOSED' })
  })
})
