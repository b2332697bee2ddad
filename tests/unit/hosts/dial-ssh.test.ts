import {
  chmodSync,
  existsSync,
  mkdtempSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { dial } from '../../../framework/hosts/index.ts'
import { parseLibvirtUri, RISKS, type LibvirtUri } from '../../../framework/protocols/libvirt/index.ts'

/** Notes its arguments, then either fails as it is told, or runs the command as the host's login shell would. */
const FAKE_SSH = `#!/bin/sh
printf '%s\\0' "$@" > "$FAKE/argv"
if [ -n "$FAKE_EXIT" ]; then printf '%s' "$FAKE_SAYS" >&2; exit "$FAKE_EXIT"; fi
for command; do :; done
printf '%s' "$FAKE_CHATTER"
PATH="$FAKE/remote" exec "$FAKE_SHELL" -c "$command"
`
/** What stands for the programs that lead to the daemon says how it was called, then sends everything back. */
const ECHO = '#!/bin/sh\necho "${0##*/} $*"\nexec cat\n'
/** Debian's netcat, which knows -q. */
const NETCAT = `#!/bin/sh
if [ "$*" = -q ]; then echo "nc: option requires an argument -- 'q'" >&2; exit 1; fi
${ECHO.split('\n').slice(1).join('\n')}`

let folder: string
beforeEach(() => {
  folder = mkdtempSync('/tmp/atp-ssh-')
  mkdirSync(`${folder}/local`)
  mkdirSync(`${folder}/remote`)
  program('local/ssh', FAKE_SSH)
  for (const name of ['sh', 'cat', 'grep']) symlinkSync(`/bin/${name}`, `${folder}/remote/${name}`)
})
afterEach(() => rmSync(folder, { recursive: true }))

function program(path: string, text: string): void {
  writeFileSync(`${folder}/${path}`, text)
  chmodSync(`${folder}/${path}`, 0o755)
}

const environment = (more: Record<string, string> = {}) => ({
  PATH: `${folder}/local:/usr/bin:/bin`,
  FAKE: folder,
  FAKE_SHELL: '/bin/sh',
  ...more,
})
const dialled = (text: string, env = environment(), timeoutMs = 10_000) =>
  dial(parseLibvirtUri(text, { allow: RISKS }), { env, timeoutMs })
const argv = () => readFileSync(`${folder}/argv`, 'utf8').split('\0').slice(0, -1)

/** The first line of whatever was started over there; it also echoes. */
async function started(text: string, env = environment()): Promise<string> {
  const stream = await dialled(text, env)
  const line = await new Promise<string>((resolve, reject) => {
    let received = ''
    stream.start({
      onData: (chunk) => {
        received += Buffer.from(chunk).toString()
        if (received.endsWith('回声\n')) resolve(received.slice(0, received.indexOf('\n')))
      },
      onClose: (error) => reject(error ?? new Error(`ended after ${received}`)),
    })
    stream.write(Buffer.from('回声\n')).catch(reject)
  })
  stream.destroy()
  return line
}

describe('ssh is called', () => {
  beforeEach(() => program('remote/virt-ssh-helper', ECHO))

  it('without a terminal, without questions, and with nothing the URI does not say', async () => {
    await started('qemu+ssh://lab-host/system')
    const all = argv()
    const command = all.pop()
    const settings =
      'BatchMode=yes LogLevel=ERROR ClearAllForwardings=yes RemoteCommand=none ServerAliveInterval=15 ConnectTimeout=10'
    expect(all.join(' ')).toBe(`-T -a -x -e none ${settings.replaceAll(/^| /g, ' -o ').trim()} -- lab-host`)
    expect(command).toMatch(/^sh -c '[^']*exec virt-ssh-helper qemu:\/\/\/system[^']*'$/)
  })

  it.each([
    [90_500, ' -o ConnectTimeout=91 '],
    [Infinity, ' -o ServerAliveInterval=15 -- '],
    [1e12, ' -o ServerAliveInterval=15 -- '],
  ])('with a limit of %d ms as it can hold it', async (timeoutMs, expected) => {
    const stream = await dialled('qemu+ssh://lab-host/system', environment(), timeoutMs)
    stream.destroy()
    expect(argv().join(' ')).toContain(expected)
  })

  it('with what the URI says', async () => {
    await started(
      'qemu+ssh://qa%40lab@[2001:db8::1]:2222/session?keyfile=/k/密钥&known_hosts=/k/known&known_hosts_verify=auto',
    )
    const all = argv()
    expect(all.slice(all.indexOf('-p'), -1)).toEqual([
      '-p',
      '2222',
      '-l',
      'qa@lab',
      '-i',
      '/k/密钥',
      '--',
      '2001:db8::1',
    ])
    expect(all).toEqual(
      expect.arrayContaining(['IdentitiesOnly=yes', 'StrictHostKeyChecking=accept-new', 'UserKnownHostsFile=/k/known']),
    )
    expect(all.at(-1)).toContain('exec virt-ssh-helper qemu:///session')
  })

  it.each([
    ['known_hosts_verify=normal', ['StrictHostKeyChecking=yes']],
    ['no_verify=1', ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null']],
    ['known_hosts_verify=ignore', ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/dev/null']],
    ['no_verify=1&known_hosts=/k', ['StrictHostKeyChecking=no', 'UserKnownHostsFile=/k']],
  ])('with %s: %j', async (query, settings) => {
    await started(`qemu+ssh://h/system?${query}`)
    expect(argv().filter((arg) => /^(?:Strict|UserKnown)/.test(arg))).toEqual(settings)
  })

  it('by another name, where that is allowed', async () => {
    program('local/my-ssh', FAKE_SSH)
    expect(await started(`qemu+ssh://h/system?command=${folder}/local/my-ssh`)).toContain('virt-ssh-helper')
  })

  it('only with what has been checked, whoever made the URI', async () => {
    const uri = parseLibvirtUri('qemu+ssh://h/system')
    const evil: Partial<LibvirtUri>[] = [
      { host: '-oProxyCommand=touch x' },
      { host: "h'; touch x; '" },
      { user: '-oX' },
      { socketPath: '/s$(id)' },
      { netcat: 'nc;id' },
      { keyfile: '/k y' },
      { knownHosts: '/k\n' },
      { command: 'sh -c id' },
    ]
    for (const part of evil) {
      await expect(dial({ ...uri, ...part }, { env: environment() })).rejects.toMatchObject({ code: 'ATP_LIBVIRT_URI' })
    }
    expect(existsSync(`${folder}/argv`)).toBe(false)
  })
})

describe('at the far end runs', () => {
  it.each(readdirSync('/bin').filter((name) => /^(?:sh|bash|dash|ksh|zsh|csh|tcsh|fish)$/.test(name)))(
    'virt-ssh-helper, started by %s',
    async (shell) => {
      program('remote/virt-ssh-helper', ECHO)
      program('remote/nc', NETCAT)
      const env = environment({ FAKE_SHELL: `/bin/${shell}` })
      expect(await started('qemu+ssh://h/session', env)).toBe('virt-ssh-helper qemu:///session')
    },
  )

  it('netcat without it', async () => {
    program('remote/nc', NETCAT)
    expect(await started('qemu+ssh://h/system')).toBe('nc -q0 -U /var/run/libvirt/libvirt-sock')
  })

  it('a netcat that does not know -q', async () => {
    program('remote/nc', ECHO)
    expect(await started('qemu+ssh://h/system')).toBe('nc -U /var/run/libvirt/libvirt-sock')
  })

  it.each([
    ['proxy=netcat', 'nc -q0 -U /var/run/libvirt/libvirt-sock'],
    ['mode=legacy', 'nc -q0 -U /var/run/libvirt/libvirt-sock'],
    ['mode=direct', 'nc -q0 -U /var/run/libvirt/virtqemud-sock'],
    ['socket=/run/我的-sock', 'nc -q0 -U /run/我的-sock'],
    ['netcat=my-nc', 'my-nc -q0 -U /var/run/libvirt/libvirt-sock'],
  ])('netcat with %s, helper or not', async (query, line) => {
    program('remote/virt-ssh-helper', ECHO)
    program('remote/nc', NETCAT)
    program('remote/my-nc', NETCAT)
    expect(await started(`qemu+ssh://h/system?${query}`)).toBe(line)
  })

  it.each([
    ['qemu+ssh://h/system', 'virt-ssh-helper or nc'],
    ['qemu+ssh://h/system?proxy=native', 'virt-ssh-helper'],
    ['qemu+ssh://h/session', 'virt-ssh-helper'],
    ['qemu+ssh://h/system?netcat=my-nc', 'my-nc'],
  ])('nothing where nothing is: %s', async (uri, missing) => {
    if (uri.includes('native') || uri.includes('session')) program('remote/nc', NETCAT)
    await expect(dialled(uri)).rejects.toMatchObject({
      code: 'ATP_SSH_NO_PROGRAM',
      retryable: false,
      context: { stderr: `missing: ${missing}` },
    })
  })

  it('whatever it is, what the host says before is no part of it', async () => {
    program('remote/virt-ssh-helper', ECHO)
    const env = environment({ FAKE_CHATTER: `Welcome!\n${'*'.repeat(5000)}\n` })
    expect(await started('qemu+ssh://h/system', env)).toBe('virt-ssh-helper qemu:///system')
  })
})

describe('ssh that fails', () => {
  const CHANGED = '@@@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @@@\nHost key verification failed.'
  it.each([
    ['255', CHANGED, 'ATP_SSH_HOST_KEY', false],
    ['255', 'No ED25519 host key is known for h and you …\nHost key verification failed.', 'ATP_SSH_HOST_KEY', false],
    ['255', 'root@h: Permission denied (publickey).', 'ATP_SSH_AUTH', false],
    ['255', 'Received disconnect: Too many authentication failures', 'ATP_SSH_AUTH', false],
    ['255', 'ssh: connect to host h port 22: Connection refused', 'ATP_SSH_CONNECT', true],
    ['255', '', 'ATP_SSH_CONNECT', true],
    ['1', 'This account is currently not available.', 'ATP_SSH_ENDED', true],
    ['126', 'sh: Permission denied', 'ATP_SSH_ENDED', true],
  ])('with exit code %s and %j is %s', async (exit, says, code, retryable) => {
    const env = environment({ FAKE_EXIT: exit, FAKE_SAYS: says })
    await expect(dialled('qemu+ssh://h/system', env)).rejects.toMatchObject({
      code,
      retryable,
      message: expect.stringContaining(says),
      context: { peer: 'ssh:h', exitCode: Number(exit), stderr: says },
    })
  })

  it('tells whether a host key has changed or is new', async () => {
    const changed = dialled('qemu+ssh://h/system', environment({ FAKE_EXIT: '255', FAKE_SAYS: CHANGED }))
    await expect(changed).rejects.toMatchObject({ context: { changed: true }, remedy: expect.stringContaining('-R') })
  })

  it('later, ends the stream with what was said', async () => {
    program('remote/virt-ssh-helper', '#!/bin/sh\necho "cannot connect to libvirt-sock" >&2\nexit 1\n')
    const stream = await dialled('qemu+ssh://h:22/system')
    const error = await new Promise((resolve) => stream.start({ onData: () => {}, onClose: resolve }))
    expect(error).toMatchObject({
      code: 'ATP_SSH_ENDED',
      retryable: true,
      message: expect.stringMatching(
        /^ssh:h:22 ended while in use, with exit code 1:\ncannot connect to libvirt-sock$/,
      ),
    })
  })

  it('is not there', async () => {
    await expect(dialled('qemu+ssh://h/system', { ...environment(), PATH: '/nonexistent' })).rejects.toMatchObject({
      code: 'ATP_SSH_MISSING',
      branch: 'unsupported',
      remedy: expect.stringContaining('openssh-client'),
    })
  })

  it('says nothing, and is ended', async () => {
    program('local/ssh', '#!/bin/sh\necho $$ > "$FAKE/pid"\nexec sleep 1000\n')
    await expect(dialled('qemu+ssh://h/system', environment(), 300)).rejects.toMatchObject({
      code: 'ATP_TRANSPORT_TIMEOUT',
      message: expect.stringContaining('ssh:h did not say that it is ready'),
      retryable: true,
    })
    const pid = readFileSync(`${folder}/pid`, 'utf8').trim()
    await expect.poll(() => existsSync(`/proc/${pid}`), { timeout: 5000 }).toBe(false)
  })
})
