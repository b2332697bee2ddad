import { randomUUID } from 'node:crypto'
import { connectError, logger, timeoutError, type AtpError } from '../../core/index.ts'
import {
  parseFirstFrame,
  parseFromAgent,
  type FromAgent,
  type Hello,
  type ServerMessage,
  type VerifierEvent,
} from '../../../guest/protocol/index.ts'
import type { AgentCarrier } from './agent-carrier.ts'
import type { Authenticate, Refusal } from './authentication.ts'

/** Time limits of a connection, milliseconds. */
export interface ConnectionLimits {
  /** From its beginning to the agent's hello. */
  helloMs: number
  /** Silence after which an agent is asked whether it lives. */
  silenceMs: number
  /** How long it may take to answer that. */
  answerMs: number
}

/** What a connection is part of. */
export interface ConnectionOwner {
  /** The agent has shown its token. @returns why it may not stay all the same */
  admit(connection: AgentConnection, hello: Hello): Refusal | undefined
  /** The agent was told that it may stay. */
  arrived(connection: AgentConnection): void
  /** A message of an agent that may stay. */
  received(connection: AgentConnection, message: AgentNews): void
  /** The agent is gone. */
  left(connection: AgentConnection, hello: Hello, reason: string): void
  /** The connection is over; comes after {@link left}. */
  ended(connection: AgentConnection): void
}

/** Messages that whoever uses an agent has to do with. */
export type AgentNews = Extract<FromAgent, { kind: 'result' | 'seen' | 'gap' | 'time' | 'ping' | 'raw' }>

const log = logger('verify')

/**
 * One connection with at most one agent: its hello, its liveness, its end. A virtio-serial port outlives agents: a
 * further hello on it is another agent, or the same that has begun anew.
 */
export class AgentConnection {
  readonly peer: string
  readonly #carrier: AgentCarrier
  readonly #owner: ConnectionOwner
  readonly #authenticate: Authenticate
  readonly #limits: ConnectionLimits
  readonly #isPort: boolean
  #hello: Hello | undefined
  /** An agent of an earlier generation: it reads events in its own shape, and nothing else. */
  #isLegacy = false
  #isOver = false
  #timer: NodeJS.Timeout | undefined
  /** It was asked whether it lives. */
  #isAsked = false
  #heardAtMs = performance.now()
  /** Nonces of our own pings count downwards from here, so that none is taken for one of whoever uses the agent. */
  #nonce = Number.MAX_SAFE_INTEGER

  constructor(
    carrier: AgentCarrier,
    owner: ConnectionOwner,
    { authenticate, limits, isPort }: { authenticate: Authenticate; limits: ConnectionLimits; isPort: boolean },
  ) {
    this.peer = carrier.peer
    this.#carrier = carrier
    this.#owner = owner
    this.#authenticate = authenticate
    this.#limits = limits
    this.#isPort = isPort
  }

  /** Begins. Not in the constructor: its owner must know it first. */
  start(): void {
    this.#await()
    this.#carrier.start({
      onText: (text) => this.#read(text),
      onFault: (error) => this.#fault(error),
      onClose: (reason) => this.#finish(reason),
    })
  }

  /** What the agent said of itself; undefined while there is none. */
  get hello(): Hello | undefined {
    return this.#hello
  }

  get isLegacy(): boolean {
    return this.#isLegacy
  }

  /** Queues a message for the agent. @throws `ATP_VERIFIER_TOO_LARGE` */
  send(message: ServerMessage): void {
    if (this.#isOver) return
    if (!this.#isLegacy) this.#carrier.send(message)
    else if ('metadata' in message) this.#carrier.send(legacyEvent(message))
  }

  /** Asks at once whether the agent lives. One that does not is gone within the time it has to answer. */
  probe(): void {
    // The time it has to answer must not begin anew with each other agent that tries.
    if (!this.#hello || this.#isLegacy || this.#isAsked) return
    clearTimeout(this.#timer)
    this.#ask()
  }

  /** Sends the agent away. */
  refuse({ code, message }: Refusal): void {
    if (this.#isOver) return
    log.info('{peer}: refused: {message} [{code}]', { peer: this.peer, message, code })
    this.#carrier.send({ v: 1, type: 'refused', code, message })
    if (this.#isPort) return this.#forget(message)
    this.#carrier.end()
    this.#finish(message)
  }

  /** Ends the connection at once. Idempotent. */
  close(reason: string): void {
    this.#finish(reason)
    this.#carrier.destroy()
  }

  #read(text: string): void {
    if (this.#isOver) return
    this.#heardAtMs = performance.now()
    let message: FromAgent
    try {
      message = this.#hello || this.#isPort ? parseFromAgent(text) : parseFirstFrame(text)
    } catch (error) {
      return this.#fault(error as AtpError)
    }
    if (this.#hello && message.kind === 'hello' && this.#isPort) this.#forget('the agent began anew')
    if (!this.#hello) return this.#greet(message)
    switch (message.kind) {
      case 'hello':
      case 'vm-id':
        return this.refuse({ code: 'ATP_VERIFIER_MESSAGE', message: 'there was a hello already' })
      case 'legacy-input':
        return this.refuse({
          code: 'ATP_VERIFIER_UNASKED',
          message: 'input that nobody asked for is not taken: this server is no key logger',
        })
      case 'ping':
        if (message.message.type === 'ping') {
          return this.send({ v: 1, type: 'pong', nonce: message.message.nonce })
        }
        if (message.message.nonce > this.#nonce) return this.#watch()
    }
    this.#owner.received(this, message)
  }

  #greet(message: FromAgent): void {
    if (message.kind !== 'hello' && message.kind !== 'vm-id') {
      // What an agent that does not know us yet says on a port is meant for those before us.
      if (this.#isPort) return
      return this.refuse({ code: 'ATP_VERIFIER_HELLO', message: 'the first message is no hello' })
    }
    const { bearer } = this.#carrier
    // The first frame of an earlier generation has no place for a token: only a request's header can bring it.
    const hello = message.kind === 'hello' ? message.message : helloOf(message.vmId)
    this.#isLegacy = message.kind === 'vm-id'
    const refusal =
      this.#authenticate(hello.vm_id, hello.token ?? bearer) ?? this.#owner.admit(this, withoutToken(hello))
    if (refusal) return this.refuse(refusal)
    this.#hello = withoutToken(hello)
    log.info('{peer}: agent of {vm}', { peer: this.peer, vm: hello.vm_id })
    this.send({ v: 1, type: 'welcome' })
    clearTimeout(this.#timer)
    if (!this.#isLegacy) this.#watch()
    this.#owner.arrived(this)
  }

  #fault(error: AtpError): void {
    const message = error.message.replace(/\n\s*→.*/s, '')
    // It would not read the refusal either.
    if (error.code === 'ATP_VERIFIER_SLOW') return this.close(message)
    this.refuse({ code: error.code as Refusal['code'], message })
  }

  /** The time until the hello. A port waits for as long as it is open. */
  #await(): void {
    if (this.#isPort) return
    const { helloMs } = this.#limits
    this.#timer = setTimeout(() => {
      this.refuse({ code: 'ATP_VERIFIER_HELLO', message: `there was no hello within ${helloMs} ms` })
    }, helloMs)
  }

  #watch(): void {
    clearTimeout(this.#timer)
    this.#isAsked = false
    const { silenceMs } = this.#limits
    const silentMs = performance.now() - this.#heardAtMs
    this.#timer = setTimeout(
      () => (performance.now() - this.#heardAtMs >= silenceMs ? this.#ask() : this.#watch()),
      Math.max(1, Math.ceil(silenceMs - silentMs)),
    )
  }

  #ask(): void {
    const { answerMs } = this.#limits
    const askedAtMs = performance.now()
    this.#isAsked = true
    this.send({ v: 1, type: 'ping', nonce: this.#nonce-- })
    this.#timer = setTimeout(() => {
      if (this.#heardAtMs > askedAtMs) return this.#watch()
      const reason = `the agent has not answered for ${answerMs} ms`
      if (this.#isPort) this.#forget(reason)
      else this.close(reason)
    }, answerMs)
  }

  /** The agent is gone, the port stays. */
  #forget(reason: string): void {
    clearTimeout(this.#timer)
    this.#leave(reason)
  }

  #finish(reason: string): void {
    if (this.#isOver) return
    this.#isOver = true
    clearTimeout(this.#timer)
    this.#leave(reason)
    this.#owner.ended(this)
  }

  #leave(reason: string): void {
    const hello = this.#hello
    this.#hello = undefined
    if (hello) this.#owner.left(this, hello, reason)
  }
}

/** What an agent of an earlier generation, which only names its VM, is taken for. */
function helloOf(vmId: string): Hello {
  return {
    v: 1,
    type: 'hello',
    vm_id: vmId,
    session: randomUUID(),
    verifiers: ['keyboard', 'mouse', 'command'],
    agent: { version: 'unknown', platform: 'linux' },
    level: 'kernel',
    reads_clock: false,
  }
}

/** The envelope of earlier generations, which older agents read; newer members stay beside it. */
function legacyEvent(event: VerifierEvent): VerifierEvent {
  const { event_id, type, action, key, metadata } = event
  const data = { ...metadata, event_id, action, ...(key !== undefined && { key }) }
  return Object.assign({ event_type: type, data }, event)
}

function withoutToken({ token: _, ...hello }: Hello): Hello {
  return hello
}

/** The error of whoever waits for something of an agent that is gone. */
export function agentLostError(vm: string, reason: string): AtpError {
  return connectError('ATP_VERIFIER_LOST', `${vm}: the verifier agent is gone: ${reason}`, {
    context: { vm },
    remedy: 'look at the log of the agent in the guest',
  })
}

/** The error of whoever waited for an agent in vain. */
export function noAgentError(vm: string, timeoutMs: number): AtpError {
  return timeoutError('ATP_VERIFIER_NO_AGENT', `${vm}: no verifier agent connected within ${timeoutMs} ms`, {
    context: { vm, timeoutMs },
    remedy: 'start the agent in the guest with the address of this run, its token and its VM id',
  })
}
