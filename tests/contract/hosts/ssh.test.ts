import { readFileSync, writeFileSync } from 'node:fs'
import { inspect } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { configureLogging, isAtpError, type AtpError } from '../../../framework/core/index.ts'
import type { HostInfo, Risk } from '../../../framework/hosts/index.ts'
import { missingHostPart, newResources, openClient, ownResources, RemoteHost } from '../../support/remote-host/index.ts'

const missing = missingHostPart(['ssh'])
if (missing) console.warn(`tests of ssh are skipped: ${missing}`)

async function refusal(info: HostInfo): Promise<AtpError> {
  const before = ownResources()
  const outcome = await openClient(info, { timeoutMs: 10_000 }).then(
    () => undefined,
    (error: unknown) => error,
  )
  if (!isAtpError(outcome)) throw new Error(`not refused with an error of ours: ${String(outcome)}`)
  await expect.poll(() => newResources(before), { timeout: 5000 }).toEqual([])
  return outcome
}

/** Everything that is logged meanwhile. */
async function logOf(work: () => Promise<void>): Promise<string> {
  let written = ''
  const spy = vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    written += String(text)
    return true
  })
  try {
    await configureLogging('trace')
    await work()
  } finally {
    await configureLogging()
    spy.mockRestore()
  }
  return written
}

describe.skipIf(missing)('ssh', () => {
  let host: RemoteHost

  beforeAll(async () => {
    host = await RemoteHost.start({ listen: ['ssh'] })
  })
  afterAll(async () => {
    await host?.stop()
  })
  afterEach(() => host.sshd.trust('host-key'))

  /** The host with the given parameters only, reached by the system's ssh. */
  const withParameters = (parameters: Record<string, string>, user = host.sshd.user): HostInfo => ({
    id: 'lab',
    uri: `qemu+ssh://${user}@127.0.0.1:${host.sshd.port}/session?${new URLSearchParams(parameters)}`.replaceAll(
      '%2F',
      '/',
    ),
  })
  const known = () => ({ keyfile: host.sshd.userKey, known_hosts: host.sshd.knownHosts })

  it('takes key and known hosts from the URI', async () => {
    const client = await openClient(withParameters(known()))
    expect(await client.hostname()).toBe(host.virsh('ssh', 'hostname').trim())
    await client.close()
  })

  it('refuses a host that shows another key than the known one', async () => {
    host.sshd.trust('other-host-key')
    const error = await refusal(host.info('ssh'))
    expect(error).toMatchObject({ code: 'ATP_SSH_HOST_KEY', retryable: false })
    // What ssh itself says about it.
    expect(error.message).toContain('Host key verification failed')
    expect(() => host.virsh('ssh', 'uri')).toThrow('Host key verification failed')
  })

  it('refuses a host whose key is not known, and learns it only when told to', async () => {
    host.sshd.trust(undefined)
    expect(await refusal(host.info('ssh'))).toMatchObject({ code: 'ATP_SSH_HOST_KEY', context: { changed: false } })
    expect(readFileSync(host.sshd.knownHosts, 'utf8')).toBe('')
    const learning = withParameters({ ...known(), known_hosts_verify: 'auto' })
    await (await openClient(learning)).close()
    expect(readFileSync(host.sshd.knownHosts, 'utf8')).toContain('ssh-ed25519')
    await (await openClient(withParameters({ ...known(), known_hosts_verify: 'normal' }))).close()
    // A first key is learnt, another one is not.
    host.sshd.trust('other-host-key')
    expect((await refusal(learning)).code).toBe('ATP_SSH_HOST_KEY')
  })

  it('connects to whoever answers only where that is allowed', async () => {
    host.sshd.trust('other-host-key')
    const careless = withParameters({ keyfile: host.sshd.userKey, no_verify: '1' })
    expect((await refusal(careless)).code).toBe('ATP_LIBVIRT_URI')
    const written = await logOf(async () => {
      const client = await openClient({ ...careless, access: { allow: ['no_verify'] } })
      expect(await client.listDomains()).toEqual([])
      await client.close()
    })
    expect(written).toMatch(/warn.*no_verify/)
  })

  it('says that the host does not let this key or this user in', async () => {
    const foreign = await refusal(withParameters({ ...known(), keyfile: host.sshd.foreignKey }))
    expect(foreign).toMatchObject({ code: 'ATP_SSH_AUTH', retryable: false })
    expect(foreign.message).toContain('Permission denied')
    expect((await refusal(withParameters(known(), 'nobody-like-this'))).code).toBe('ATP_SSH_AUTH')
  })

  it('runs a netcat of another name, where that is allowed, and says when the host has none of that name', async () => {
    const named = (netcat: string, ...allow: Risk[]): HostInfo => ({
      ...withParameters({ ...known(), socket: host.daemon.socketPath, netcat }),
      access: { allow },
    })
    const client = await openClient(named('nc', 'netcat'))
    expect(await client.listDomains()).toEqual([])
    await client.close()
    expect((await refusal(named('nc'))).code).toBe('ATP_LIBVIRT_URI')
    const error = await refusal(named('no-such-netcat', 'netcat'))
    expect(error).toMatchObject({ code: 'ATP_SSH_NO_PROGRAM', retryable: false })
    expect(error.message).toContain('no-such-netcat')
  })

  it('says that the program that is to be ssh is none', async () => {
    const info = { id: 'lab', uri: `qemu+ssh://127.0.0.1/session?command=${host.daemon.root}/none` }
    expect((await refusal(info)).code).toBe('ATP_LIBVIRT_URI')
    expect((await refusal({ ...info, access: { allow: ['command'] } })).code).toBe('ATP_SSH_MISSING')
  })

  it('says what virt-ssh-helper and netcat say when there is no daemon', async () => {
    await host.daemon.kill('SIGKILL')
    try {
      for (const way of ['ssh', 'ssh-netcat'] as const) {
        const error = await refusal(host.info(way))
        expect(error).toMatchObject({ branch: 'connect', retryable: true })
        expect(inspect(error, { depth: 9 })).toMatch(/libvirt-sock/)
      }
    } finally {
      await host.daemon.launch()
    }
  })

  it('an ssh that is killed ends the connection with its reason', async () => {
    const before = ownResources()
    const client = await openClient(host.info('ssh'))
    const ssh = newResources(before).find((name) => name.startsWith('process:')) as string
    process.kill(Number(ssh.slice('process:'.length)), 'SIGKILL')
    expect(await client.closed).toMatchObject({
      code: 'ATP_SSH_ENDED',
      context: { signal: 'SIGKILL' },
      retryable: true,
    })
    await expect(client.hostname()).rejects.toMatchObject({ code: 'ATP_LIBVIRT_CLOSED' })
  })

  it('tells keys to nobody: neither logs nor errors hold them', async () => {
    const errors: AtpError[] = []
    const written = await logOf(async () => {
      await (await openClient(host.info('ssh'))).close()
      errors.push(await refusal(withParameters({ ...known(), keyfile: host.sshd.foreignKey })))
      // A file ssh complains about.
      errors.push(await refusal(withParameters({ ...known(), keyfile: brokenKey() })))
    })
    expect(written).toContain('ssh')
    for (const text of host.sshd.keyTexts) expect(written + inspect(errors, { depth: 9 })).not.toContain(text)
  })

  function brokenKey(): string {
    const path = `${host.daemon.root}/broken-key`
    const lines = readFileSync(host.sshd.foreignKey, 'utf8').split('\n')
    writeFileSync(path, lines.slice(0, 3).join('\n'), { mode: 0o600 })
    return path
  }
})
