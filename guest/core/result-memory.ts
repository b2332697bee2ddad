import type { VerifyResult } from '../protocol/index.ts'

/** Most results that are kept for a server that asks again after it lost the connection. */
const KEPT_MAX = 2000
/** Results with more details than this are forgotten as if they were several. */
const SHARE_BYTES = 10_000

/** Answers by event id: an event that is asked again gets the same one, without being verified twice. */
export class ResultMemory {
  readonly #answers = new Map<string, Promise<VerifyResult>>()
  readonly #shares = new Map<string, number>()
  #kept = 0
  #underWay = 0

  /** How many are being worked on. */
  get underWay(): number {
    return this.#underWay
  }

  get(eventId: string): Promise<VerifyResult> | undefined {
    return this.#answers.get(eventId)
  }

  /** Remembers an answer from now on. It must not reject. */
  add(eventId: string, answer: Promise<VerifyResult>): Promise<VerifyResult> {
    this.#answers.set(eventId, answer)
    this.#underWay++
    return answer.then((result) => {
      this.#underWay--
      const share = 1 + Math.floor(JSON.stringify(result.details).length / SHARE_BYTES)
      this.#shares.set(eventId, share)
      this.#kept += share
      this.#forget()
      return result
    })
  }

  #forget(): void {
    for (const [eventId, share] of this.#shares) {
      if (this.#kept <= KEPT_MAX) return
      this.#kept -= share
      this.#shares.delete(eventId)
      this.#answers.delete(eventId)
    }
  }
}
