import type { AgentMessage, InputDevice, VerifyResult } from '../protocol/index.ts'

/** What became of input, without saying what it was. */
export interface InputCounts {
  seen: number
  lost: number
  unexpected: number
  reordered: number
}

/** What the page has verified since it was opened, as numbers. */
export class Tally {
  readonly input: Readonly<Record<InputDevice, InputCounts>> = { keyboard: noInput(), mouse: noInput() }
  /** Single events: verified, and not. */
  verified = 0
  failed = 0
  /** How often input could not be observed for a while. */
  gaps = 0
  /** From a question to the server's answer, the last time. */
  roundTripMs: number | undefined
  /** The server took the agent. */
  welcome = false
  /** Why the server did not take the agent, as a code. */
  refusal: string | undefined
  /** Called after each change. */
  onChange: () => void = () => {}
  /** Events and expectations that have no result yet. */
  readonly #open = new Map<string, InputDevice | 'event'>()
  readonly #pings = new Map<number, number>()

  /** Something is being verified. */
  get busy(): boolean {
    return this.#open.size > 0
  }

  /** A new connection: what the last one left open gets its results over none. */
  began(): void {
    this.#open.clear()
    this.#pings.clear()
    this.welcome = false
    this.refusal = undefined
    this.roundTripMs = undefined
    this.onChange()
  }

  received(text: string, nowMs: number): void {
    this.#read(text, nowMs)
    this.onChange()
  }

  sent(message: AgentMessage, nowMs: number): void {
    this.#count(message, nowMs)
    this.onChange()
  }

  #read(text: string, nowMs: number): void {
    const { type, event_type, event_id: id, device, code, nonce } = fieldsOf(text)
    if (type === 'welcome') this.welcome = true
    else if (type === 'refused') this.refusal = String(code)
    else if (type === 'expect') this.#open.set(String(id), device === 'mouse' ? 'mouse' : 'keyboard')
    else if (type === 'pong') this.#answered(Number(nonce), nowMs)
    else if (typeof id === 'string' && type !== 'release' && (type ?? event_type) !== undefined) {
      this.#open.set(id, 'event')
    }
  }

  #count(message: AgentMessage, nowMs: number): void {
    if (!('type' in message)) return this.#result(message)
    if (message.type === 'gap') this.gaps++
    if (message.type === 'ping') this.#pings.set(message.nonce, nowMs)
    if (message.type !== 'seen') return
    const what = this.#open.get(message.event_id)
    if (what === 'keyboard' || what === 'mouse') {
      this.input[what].seen += message.seen.length
      this.input[what].unexpected += message.unexpected
    }
  }

  #answered(nonce: number, nowMs: number): void {
    const askedMs = this.#pings.get(nonce)
    if (askedMs === undefined) return
    this.#pings.delete(nonce)
    this.roundTripMs = nowMs - askedMs
  }

  #result({ event_id: id, verified, details }: VerifyResult): void {
    const what = this.#open.get(id) ?? 'event'
    this.#open.delete(id)
    if (what !== 'event') {
      this.input[what].lost += Number(details['lost'] ?? 0)
      this.input[what].reordered += Number(details['reordered'] ?? 0)
    } else if (verified) this.verified++
    else this.failed++
  }
}

function noInput(): InputCounts {
  return { seen: 0, lost: 0, unexpected: 0, reordered: 0 }
}

/** The agent reads messages properly and says what is wrong with them; here nothing is. */
function fieldsOf(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}
