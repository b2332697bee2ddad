import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Protocol, ProtocolTarget } from '../../../framework/protocols/protocol.ts'

/** One kind of protocol with a peer to speak to. */
export interface ContractPeer {
  target: ProtocolTarget
  make(): Protocol
  /** Something to send, and whether a received message is the peer's answer to it. */
  message: Uint8Array
  isAnswer(message: Uint8Array): boolean
  /** What `receive` rejects with when the peer owes nothing: a time-out unless the protocol knows better. */
  idleCode: string
  end(): Promise<void>
}

const BOUNDS = { timeoutMs: 20_000 }
const IDLE = { timeoutMs: 50 }

/** What every protocol promises, whoever the peer is. `missing` says why this peer cannot be had here. */
export function protocolContract(name: string, open: () => Promise<ContractPeer>, missing?: string): void {
  describe(
    `${name} keeps the protocol contract${missing ? ` (skipped: ${missing})` : ''}`,
    { skip: missing !== undefined },
    () => {
      let peer: ContractPeer
      let protocol: Protocol
      beforeAll(async () => {
        peer = await open()
      }, 120_000)
      afterAll(() => peer?.end())
      afterEach(() => protocol?.disconnect())

      const connected = async () => {
        protocol = peer.make()
        await protocol.connect(peer.target, BOUNDS)
        return protocol
      }
      const exchange = async () => {
        const answer = protocol.receive(BOUNDS)
        await Promise.all([protocol.send(peer.message, BOUNDS), answer.catch(() => {})])
        return answer.catch(() => protocol.receive(BOUNDS))
      }

      it('is closed until it is connected', async () => {
        protocol = peer.make()
        expect(protocol.isConnected()).toBe(false)
        await expect(protocol.send(peer.message)).rejects.toMatchObject({ branch: 'state' })
        await expect(protocol.receive(IDLE)).rejects.toMatchObject({ branch: 'state' })
        await protocol.disconnect()
      })

      it('exchanges messages', async () => {
        await connected()
        expect(protocol.isConnected()).toBe(true)
        expect(peer.isAnswer(await exchange())).toBe(true)
        expect(peer.isAnswer(await exchange())).toBe(true)
      })

      it('connects once', async () => {
        await connected()
        await protocol.connect(peer.target, BOUNDS)
        expect(peer.isAnswer(await exchange())).toBe(true)
      })

      it('does not wait for ever, and goes on after waiting in vain', async () => {
        await connected()
        await expect(protocol.receive(IDLE)).rejects.toMatchObject({ code: peer.idleCode })
        expect(protocol.isConnected()).toBe(true)
        expect(peer.isAnswer(await exchange())).toBe(true)
      })

      it('stops waiting when told to', async () => {
        await connected()
        const abort = new AbortController()
        const waiting = protocol.receive({ signal: abort.signal })
        abort.abort()
        const code = peer.idleCode === 'ATP_TIMEOUT' ? 'ATP_INTERRUPTED' : peer.idleCode
        await expect(waiting).rejects.toMatchObject({ code })
        expect(peer.isAnswer(await exchange())).toBe(true)
      })

      it('ends, lets go of who waits, and can be connected again', async () => {
        await connected()
        const waiting = expect(protocol.receive(BOUNDS)).rejects.toMatchObject({ branch: 'state' })
        await protocol.disconnect()
        await protocol.disconnect()
        await waiting
        expect(protocol.isConnected()).toBe(false)
        await expect(protocol.send(peer.message)).rejects.toMatchObject({ branch: 'state' })
        await protocol.connect(peer.target, BOUNDS)
        expect(peer.isAnswer(await exchange())).toBe(true)
      })
    },
  )
}
