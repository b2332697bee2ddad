import { createHash, randomBytes } from 'node:crypto'
import { pollUntil, sleep } from '../../framework/core/index.ts'
import type { ByteStream, ChannelStream, Domain, LibvirtClient } from '../../framework/protocols/libvirt/index.ts'

/** A channel of a guest with a shell: {@link shell} starts a program in it and does not wait for its end. */
export interface GuestChannel {
  client: LibvirtClient
  domain: Domain
  /** The channel's name for libvirt, and its device in the guest. */
  name: string
  port: string
  shell(script: string): Promise<unknown>
}

export interface Transfer {
  sentSha256: string
  arrivedSha256: string
  durationMs: number
}

/** The guest sends that many bytes. */
export async function receiveFromGuest({ client, domain, name, port, shell }: GuestChannel, sizeBytes: number) {
  const line = '0123456789\n'
  const expected = createHash('sha256')
  for (let left = sizeBytes; left > 0; left -= line.length) expected.update(line.slice(0, left))
  const channel = await client.openChannel(domain, name)
  const started = performance.now()
  const arrived = hashOf(channel, sizeBytes)
  await shell(`yes ${line.trim()} | head -c ${sizeBytes} > ${port}`)
  const transfer: Transfer = {
    sentSha256: expected.digest('hex'),
    arrivedSha256: await arrived,
    durationMs: performance.now() - started,
  }
  await release(channel)
  return transfer
}

/**
 * That many random bytes go to the guest, which sends each back: their acknowledgement. Meanwhile the state of the VM
 * is asked for on the same connection; `stateMs` are the answers' times, sorted.
 */
export async function echoThroughGuest({ client, domain, name, port, shell }: GuestChannel, sizeBytes: number) {
  const data = randomBytes(sizeBytes)
  const channel = await client.openChannel(domain, name)
  const started = performance.now()
  const arrived = hashOf(channel, sizeBytes)
  await shell(`exec 3<>${port}; exec cat <&3 >&3`)
  const stateMs: number[] = []
  let over = false
  const watching = (async () => {
    while (!over) {
      const asked = performance.now()
      await client.getState(domain)
      stateMs.push(performance.now() - asked)
      await sleep(5)
    }
  })()
  try {
    for (let at = 0; at < sizeBytes; at += 65_536) await channel.write(data.subarray(at, at + 65_536))
    const transfer: Transfer = {
      sentSha256: createHash('sha256').update(data).digest('hex'),
      arrivedSha256: await arrived,
      durationMs: performance.now() - started,
    }
    return { ...transfer, stateMs: stateMs.toSorted((a, b) => a - b) }
  } finally {
    over = true
    await watching
    await release(channel)
  }
}

export interface UnreadChannel {
  /** Opens a connection to the daemon. */
  open(): Promise<LibvirtClient>
  /** A VM whose guest does not read the channel. */
  domain: Domain
  name: string
  /** How long the connection is watched after the write failed. */
  aliveForMs: number
}

/**
 * Writes 1 MiB to a channel that nobody reads, and watches what becomes of the connection and of the channel.
 *
 * @returns the write's error, the longest answer time of the state meanwhile, and how long the channel could not be
 *   opened by somebody else. @throws when the connection or the channel is lost for good.
 */
export async function writeToUnreadChannel({ open, domain, name, aliveForMs }: UnreadChannel) {
  const [client, other] = await Promise.all([open(), open()])
  try {
    const channel = await client.openChannel(domain, name, { stallTimeoutMs: 1000 })
    const error = await channel.write(Buffer.alloc(1_048_576)).then(
      () => undefined,
      (reason: unknown) => reason,
    )
    const failedAtMs = performance.now()
    // On another connection, so that nothing but the daemon's own release counts.
    const reopened = await pollUntil('the channel’s release', { timeoutMs: 10_000 }, () =>
      other.openChannel(domain, name),
    )
    const reopenedMs = performance.now() - failedAtMs
    await release(reopened)
    let slowestStateMs = 0
    do {
      const asked = performance.now()
      await client.getState(domain)
      slowestStateMs = Math.max(slowestStateMs, performance.now() - asked)
      await sleep(100)
    } while (performance.now() - failedAtMs < aliveForMs)
    return { error, reopenedMs, slowestStateMs, stats: client.stats() }
  } finally {
    await Promise.all([client.close(), other.close()])
  }
}

/** Hashes what arrives, until there is enough of it. */
function hashOf(stream: ByteStream, sizeBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const hash = createHash('sha256')
    let seenBytes = 0
    stream.start({
      onData: (chunk) => {
        hash.update(chunk)
        seenBytes += chunk.length
        if (seenBytes >= sizeBytes) resolve(hash.digest('hex'))
      },
      onClose: (error) => reject(error ?? new Error('the channel ended early')),
    })
  })
}

async function release(channel: ChannelStream): Promise<void> {
  channel.destroy()
  await channel.released
}
