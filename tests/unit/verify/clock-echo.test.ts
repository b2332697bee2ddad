import { execFileSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isAtpError } from '../../../framework/core/errors.ts'
import { ClockEcho, clockEchoScript, type ClockChannel } from '../../../framework/verify/clock-echo.ts'
import { clockProgram } from '../../../framework/verify/clock-program.ts'

/** The other end of the channel: answers as `reply` says. */
class Channel implements ClockChannel {
  sink: Parameters<ClockChannel['start']>[0] | undefined
  destroyed = false
  reply: (question: Buffer) => Uint8Array[] = (question) => [answerTo(question)]
  start(sink: Parameters<ClockChannel['start']>[0]): void {
    this.sink = sink
  }
  async write(bytes: Uint8Array): Promise<void> {
    for (const chunk of this.reply(Buffer.from(bytes))) queueMicrotask(() => this.sink?.onData(chunk))
  }
  destroy(): void {
    this.destroyed = true
  }
}

function answerTo(question: Uint8Array, { seconds = 7n, nanoseconds = 5n, settings = 3n } = {}): Buffer {
  const answer = Buffer.alloc(32)
  answer.set(question)
  answer.writeBigInt64LE(seconds, 8)
  answer.writeBigInt64LE(nanoseconds, 16)
  answer.writeBigInt64LE(settings, 24)
  return answer
}

describe('the script for the guest', () => {
  const script = ['free() { return 1; }', ...clockEchoScript()].join('\n')

  it('makes a shell write the program, byte for byte', () => {
    const printf = /printf '[^']*'/.exec(script)?.[0] ?? ''
    expect(execFileSync('/bin/sh', ['-c', printf])).toEqual(clockProgram())
  })

  it('prints nothing, fails with nothing and leaves nothing where there is no port', () => {
    const file = /[.]atp-clock-[0-9a-f]+/.exec(script)?.[0] as string
    expect(execFileSync('/bin/sh', ['-c', script]).length).toBe(0)
    for (const folder of ['/dev/shm', '/run', '/tmp']) expect(readdirSync(folder)).not.toContain(file)
  })
})

describe('the echo', () => {
  it('reads an answer however it is cut, behind whatever other sessions left', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 100 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }),
        fc.bigInt({ min: 0n, max: 2n ** 33n }),
        async (leftover, cuts, seconds) => {
          const channel = new Channel()
          channel.reply = (question) => {
            const bytes = Buffer.concat([leftover, answerTo(question, { seconds })])
            const chunks: Buffer[] = []
            for (let at = 0, cut = 0; at < bytes.length; at += cuts[cut++ % cuts.length] as number) {
              chunks.push(bytes.subarray(at, at + (cuts[cut % cuts.length] as number)))
            }
            return chunks
          }
          const ping = await new ClockEcho(channel).ping()
          expect(ping).toMatchObject({ guestNs: seconds * 1_000_000_000n + 5n, settings: 3n })
          expect(ping.sentNs <= ping.receivedNs).toBe(true)
        },
      ),
    )
  })

  it('asks one question at a time', async () => {
    const channel = new Channel()
    const asked: string[] = []
    channel.reply = (question) => {
      asked.push(question.toString('hex'))
      return [answerTo(question, { seconds: BigInt(asked.length) })]
    }
    const echo = new ClockEcho(channel)
    const pings = await Promise.all([echo.ping(), echo.ping(), echo.ping()])
    expect(pings.map(({ guestNs }) => guestNs / 1_000_000_000n)).toEqual([1n, 2n, 3n])
    expect(new Set(asked).size).toBe(3)
  })

  it('is over with its channel, and when nothing answers the question is', async () => {
    const channel = new Channel()
    channel.reply = () => []
    const echo = new ClockEcho(channel)
    await expect(echo.ping({ timeoutMs: 20 })).rejects.toSatisfy((error) => isAtpError(error, 'ATP_TIMEOUT'))
    const pending = echo.ping()
    await Promise.resolve()
    channel.sink?.onClose(new Error('reset'))
    await expect(pending).rejects.toThrow('reset')
    await expect(echo.ping()).rejects.toSatisfy((error) => isAtpError(error, 'ATP_CLOCK_ECHO'))
    echo.close()
    expect(channel.destroyed).toBe(true)
  })
})
