import { describe, expect, it } from 'vitest'
import { explain } from '../../../framework/cli/host-check/explain.ts'
import { connectError, remoteError, unsupportedError } from '../../../framework/core/index.ts'
import { dial } from '../../../framework/hosts/index.ts'
import { parseLibvirtUri } from '../../../framework/protocols/libvirt/index.ts'
import { refusal } from '../../../framework/protocols/libvirt/errors.ts'
import { connectTcp } from '../../../framework/transport/index.ts'

const about = (error: unknown, uri = 'qemu+tls://kvm-1.example/system') =>
  explain('connection', error, parseLibvirtUri(uri))
const failure = async (made: Promise<unknown>): Promise<unknown> =>
  made.then(
    () => expect.unreachable('it worked'),
    (error: unknown) => error,
  )
const withErrno = (errno: string) =>
  connectError('ATP_TRANSPORT_CONNECT', `cannot connect: ${errno}`, { context: { errno } })

describe('what keeps a host from being used', () => {
  it('a port on which nobody listens', async () => {
    const refused = await failure(connectTcp({ host: '127.0.0.1', port: 1 }))
    expect(about(refused, 'qemu+tls://127.0.0.1:1/system')).toEqual({
      state: 'bad',
      what: 'connection',
      detail: 'cannot connect to tcp:127.0.0.1:1: ECONNREFUSED',
      code: 'ATP_TRANSPORT_CONNECT',
      remedy:
        'nothing listens on port 1: on the host, "systemctl enable --now libvirtd-tls.socket" (modular daemons: virtproxyd-tls.socket)',
    })
    expect(about(refused, 'qemu+tcp://127.0.0.1/system').remedy).toMatch(/port 16509.*libvirtd-tcp\.socket/)
  })

  it('a socket that is not there', async () => {
    const dialled = async (uri: string) => about(await failure(dial(parseLibvirtUri(uri))), uri)
    expect(await dialled('qemu+unix:///system?socket=/nonexistent/sock')).toMatchObject({
      detail: expect.stringContaining('/nonexistent/sock: ENOENT'),
      remedy: expect.stringMatching(/systemctl start libvirtd.*virtqemud/),
    })
    expect((await dialled('qemu+unix:///session?socket=/nonexistent/sock')).remedy).toMatch(/start the daemon/)
  })

  it.each([
    ['a name nobody knows', withErrno('ENOTFOUND'), 'qemu+tcp://kvm.exmaple/system', /spelling of "kvm\.exmaple"/],
    ['a silent name server', withErrno('EAI_AGAIN'), 'qemu+tcp://kvm/system', /name server/],
    ['a firewall', withErrno('ETIMEDOUT'), 'qemu+tls://kvm/system', /firewall.*nc -vz kvm 16514/],
    ['no route', withErrno('EHOSTUNREACH'), 'qemu+tcp://kvm:99/system', /nc -vz kvm 99/],
    [
      'a changed host key',
      connectError('ATP_SSH_HOST_KEY', 'x:\nREMOTE HOST IDENTIFICATION HAS CHANGED!'),
      'qemu+ssh://root@kvm:2222/system',
      /ssh-keygen -R '\[kvm\]:2222', and log in once: ssh -p 2222 root@kvm$/,
    ],
    [
      'an unknown host key',
      connectError('ATP_SSH_HOST_KEY', 'x:\nHost key verification failed.'),
      'qemu+ssh://kvm/system',
      /compare the fingerprint: ssh kvm$/,
    ],
    [
      'a key that is not let in',
      remoteError('ATP_SSH_AUTH', 'x:\nroot@kvm: Permission denied (publickey).'),
      'qemu+ssh://root@kvm/system',
      /ssh-copy-id root@kvm;/,
    ],
    [
      'neither virt-ssh-helper nor nc',
      unsupportedError('ATP_SSH_NO_PROGRAM', 'x'),
      'qemu+ssh://kvm/system',
      /netcat-openbsd.*virt-ssh-helper/,
    ],
    [
      'ssh: an unknown name',
      connectError('ATP_SSH_CONNECT', 'x:\nssh: Could not resolve hostname kvm: Name or service not known'),
      'qemu+ssh://kvm/system',
      /getent hosts kvm/,
    ],
    [
      'ssh: no sshd',
      connectError('ATP_SSH_CONNECT', 'x:\nssh: connect to host kvm port 22: Connection refused'),
      'qemu+ssh://kvm/system',
      /no sshd/,
    ],
    [
      'ssh: silence',
      connectError('ATP_SSH_CONNECT', 'x:\nssh: connect to host kvm port 22: Connection timed out'),
      'qemu+ssh://kvm/system',
      /nc -vz kvm 22/,
    ],
    [
      'no QEMU driver',
      refusal('opening', { code: 5, origin: 0, message: 'no connection driver available for qemu', domain: undefined }),
      'qemu:///system',
      /libvirt-daemon-driver-qemu/,
    ],
    [
      'polkit',
      refusal('authenticating', { code: 45, origin: 7, message: 'polkit: not authorized', domain: undefined }),
      'qemu:///system',
      /org\.libvirt\.unix\.manage/,
    ],
    [
      'too many clients',
      connectError('ATP_LIBVIRT_CLOSED', 'x', { cause: connectError('ATP_LIBVIRT_ENDED', 'y') }),
      'qemu+tcp://kvm/system',
      /max_clients/,
    ],
  ])('%s', (_, error, uri, remedy) => {
    expect(about(error, uri)).toMatchObject({ state: 'bad', remedy: expect.stringMatching(remedy) })
  })

  it('anything else keeps the advice of its error, once', () => {
    const error = remoteError('ATP_LIBVIRT_AUTH', 'not let in', { remedy: 'check user and password' })
    expect(about(error)).toEqual({
      state: 'bad',
      what: 'connection',
      detail: 'not let in',
      code: 'ATP_LIBVIRT_AUTH',
      remedy: 'check user and password',
    })
    expect(about(new Error('odd'))).toEqual({ state: 'bad', what: 'connection', detail: 'odd' })
    const loop = new Error('a')
    loop.cause = loop
    expect(about(loop).detail).toBe('a')
  })
})
