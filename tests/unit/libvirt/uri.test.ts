import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  formatLibvirtUri,
  parseLibvirtUri,
  RISKS,
  uriForHost,
  type LibvirtUri,
} from '../../../framework/protocols/libvirt/index.ts'

const none: Omit<LibvirtUri, 'transport' | 'path'> = {
  user: undefined,
  host: undefined,
  port: undefined,
  socketPath: undefined,
  mode: 'auto',
  proxy: 'auto',
  netcat: undefined,
  command: undefined,
  keyfile: undefined,
  knownHosts: undefined,
  knownHostsVerify: undefined,
  noVerify: false,
  pkipath: undefined,
}
const refusal = (saying: RegExp | string = /./) =>
  expect.objectContaining({
    code: 'ATP_LIBVIRT_URI',
    branch: 'config',
    retryable: false,
    remedy: expect.any(String),
    message: expect.stringMatching(saying),
  })

describe('a libvirt URI is understood', () => {
  it.each<[string, Partial<LibvirtUri>]>([
    ['qemu:///session', { transport: 'unix', path: '/session' }],
    ['qemu:///system', { transport: 'unix', path: '/system' }],
    ['qemu:///system?mode=direct', { transport: 'unix', path: '/system', mode: 'direct' }],
    ['qemu+unix:///system', { transport: 'unix', path: '/system' }],
    ['qemu+unix:///session?socket=/run/a%20b', { transport: 'unix', path: '/session', socketPath: '/run/a b' }],
    ['qemu+unix:///session?socket=/run/虚拟机', { transport: 'unix', path: '/session', socketPath: '/run/虚拟机' }],
    ['qemu+ssh://root@host:2222/system', { transport: 'ssh', path: '/system', user: 'root', host: 'host', port: 2222 }],
    ['qemu+ssh://192.168.1.10:22/system', { transport: 'ssh', path: '/system', host: '192.168.1.10', port: 22 }],
    ['qemu+ssh://tester@qa_host/session', { transport: 'ssh', path: '/session', user: 'tester', host: 'qa_host' }],
    [
      'qemu+ssh://qa%40lab@[2001:db8::1]/system',
      { transport: 'ssh', path: '/system', user: 'qa@lab', host: '2001:db8::1' },
    ],
    ['qemu+ssh://h/system?socket=/run/s', { transport: 'ssh', path: '/system', host: 'h', socketPath: '/run/s' }],
    ['qemu+ssh://h/system?no_tty=1&proxy=native', { transport: 'ssh', path: '/system', host: 'h', proxy: 'native' }],
    [
      'qemu+ssh://h/system?keyfile=/k/id_ed25519&known_hosts=/k/known&known_hosts_verify=auto',
      {
        transport: 'ssh',
        path: '/system',
        host: 'h',
        keyfile: '/k/id_ed25519',
        knownHosts: '/k/known',
        knownHostsVerify: 'auto',
      },
    ],
    ['qemu://host.example/system', { transport: 'tls', path: '/system', host: 'host.example' }],
    [
      'qemu+tls://h:1/system?pkipath=/my%20pki',
      { transport: 'tls', path: '/system', host: 'h', port: 1, pkipath: '/my pki' },
    ],
    ['qemu+tls://h/system?no_verify=0', { transport: 'tls', path: '/system', host: 'h' }],
    ['qemu+tcp://[::1]/system', { transport: 'tcp', path: '/system', host: '::1' }],
    ['qemu+tcp://10.0.0.1:16509/session', { transport: 'tcp', path: '/session', host: '10.0.0.1', port: 16_509 }],
  ])('%s', (text, expected) => {
    expect(parseLibvirtUri(text)).toStrictEqual({ ...none, ...expected })
  })
})

describe('a libvirt URI is refused, with what is wrong and what to write', () => {
  it.each([
    '',
    'qemu',
    'qemu:/session',
    'QEMU:///session',
    'xen:///system',
    'qemu+pigeon:///system',
    'qemu:///',
    'qemu:///sessions',
    'qemu:///session#x',
    'qemu:///session ',
    'qemu+unix://host/session',
    'qemu+ssh:///system',
    'qemu+tcp:///system',
    'qemu+tls://h',
    'qemu+ssh://host:0/system',
    'qemu+ssh://host:65536/system',
    'qemu+ssh://host:/system',
    'qemu+ssh://::1/system',
    'qemu+ssh://[::1/system',
    'qemu+ssh://[1.2.3.4]/system',
    'qemu+ssh://[fe80::1%25eth0]/system',
    'qemu+tcp://user@host/system',
    'qemu+unix:///session?socket=relative',
    'qemu+unix:///session?socket',
    'qemu+unix:///session?socket=',
    'qemu+unix:///session?socket=/a&socket=/b',
    'qemu+unix:///session?socket=/a&mode=direct',
    'qemu+unix:///session?socket=%zz',
    'qemu+unix:///session?socket=/a%00b',
    'qemu+unix:///session?socket=/a%0ab',
    'qemu+unix:///session\n?socket=/a',
    'qemu:///system?mode=modular',
    'qemu:///system?proxy=native',
    'qemu:///system?pkipath=/x',
    'qemu+tcp://h/system?socket=/x',
    'qemu+tcp://h/system?no_verify=0',
    'qemu+tls://h/system?keyfile=/x',
    'qemu+tls://h/system?tls_priority=NORMAL',
    'qemu+tls://h/system?no_verify=yes',
    'qemu+tls://h/system?pkipath=relative',
    'qemu+ssh://h/system?sshauth=agent',
    'qemu+ssh://h/system?no_tty=0',
    'qemu+ssh://h/system?pkipath=/x',
    'qemu+ssh://h/system?known_hosts_verify=ignore',
    'qemu+ssh://h/system?proxy=native&socket=/x',
    'qemu+ssh://h/system?proxy=native&mode=legacy',
    'qemu+ssh://h/session?proxy=netcat',
    'qemu+ssh://h/session?mode=direct',
    'qemu+ssh://h/system?__proto__=x',
    'qemu+ssh://h/system?constructor=x',
  ])('%j', (text) => {
    expect(() => parseLibvirtUri(text)).toThrow(refusal())
  })

  it.each([
    ['qemu+ssh://h/system?keyfle=/x', /"keyfle" is not known\n.*did you mean keyfile\?/],
    ['qemu:///system?sokcet=/x', /did you mean socket\?/],
    ['qemu+tcp://h/system?x=1', /tcp has none/],
    ['qemu+tls://h/system?socket=/x', /"socket" is not one of tls\n.*unix and ssh/],
    ['qemu+ssh://2001:db8::1/system', /in brackets/],
  ])('%s with a hint', (text, hint) => {
    expect(() => parseLibvirtUri(text)).toThrow(refusal(hint))
  })
})

describe('what could run something, or let somebody listen, is refused before anything is spawned', () => {
  it.each([
    'qemu+ssh://-oProxyCommand=touch%20x/system',
    'qemu+ssh://-oProxyCommand=touch x/system',
    'qemu+ssh://-host/system',
    'qemu+ssh://-oX@host/system',
    'qemu+ssh://%2DoX@host/system',
    'qemu+ssh://%2doProxyCommand=x/system',
  ])('%j', (text) => {
    expect(() => parseLibvirtUri(text, { allow: RISKS })).toThrow(refusal())
  })

  const NASTY = [
    ' ',
    '\t',
    '\n',
    '\r',
    '\0',
    "'",
    '"',
    '`',
    '$(id)',
    '$HOME',
    ';',
    '|',
    '&',
    '\\',
    '<',
    '>',
    '!',
    '*',
    '?',
  ]
  const nastyIn = (wrap: (text: string) => string) =>
    NASTY.flatMap((nasty) => [wrap(`a${nasty}b`), wrap(`a${encodeURIComponent(nasty)}b`)])
  it.each([
    ...nastyIn((text) => `qemu+ssh://${text}/system`),
    ...nastyIn((text) => `qemu+ssh://${text}@host/system`),
    ...nastyIn((text) => `qemu+ssh://host/system?keyfile=/${text}`),
    ...nastyIn((text) => `qemu+ssh://host/system?known_hosts=/${text}`),
    ...nastyIn((text) => `qemu+ssh://host/system?socket=/${text}`),
    ...nastyIn((text) => `qemu+ssh://host/system?netcat=/${text}`),
    ...nastyIn((text) => `qemu+ssh://host/system?command=/${text}`),
    'qemu+ssh://host/system?netcat=-oX',
    'qemu+ssh://host/system?command=-oX',
    'qemu+ssh://host/system?keyfile=%25d/id',
    'qemu+ssh://host/system?keyfile=-i',
  ])('%j, even where risks are allowed', (text) => {
    expect(() => parseLibvirtUri(text, { allow: RISKS })).toThrow(refusal())
  })

  it.each([
    ['command', 'qemu+ssh://h/system?command=/opt/ssh', { command: '/opt/ssh' }],
    ['netcat', 'qemu+ssh://h/system?netcat=/bin/nc.openbsd', { netcat: '/bin/nc.openbsd' }],
    ['no_verify', 'qemu+ssh://h/system?no_verify=1', { noVerify: true }],
    ['no_verify', 'qemu+tls://h/system?no_verify=1', { noVerify: true }],
    ['no_verify', 'qemu+ssh://h/system?known_hosts_verify=ignore', { knownHostsVerify: 'ignore' }],
  ] as const)('%s unless it is allowed: %s', (risk, text, expected) => {
    expect(() => parseLibvirtUri(text)).toThrow(refusal(risk))
    expect(() => parseLibvirtUri(text, { allow: RISKS.filter((other) => other !== risk) })).toThrow(refusal(risk))
    expect(parseLibvirtUri(text, { allow: [risk] })).toMatchObject(expected)
  })

  it.each([
    'qemu+ssh://root:geheim@host/system',
    'qemu+ssh://root:ge/heim@host/system',
    'qemu+tls://:geheim@host/system',
    'qemu+ssh://host/system?password=geheim',
    'qemu+ssh://root:geheim%0a@host/system',
  ])('a password, which the refusal does not repeat: %s', (text) => {
    let thrown: unknown
    try {
      parseLibvirtUri(text)
    } catch (error) {
      thrown = error
    }
    expect(thrown).toEqual(refusal())
    const { message, context } = thrown as { message: string; context: object }
    expect(message + JSON.stringify(context)).not.toContain('heim')
  })
})

describe('uriForHost', () => {
  it.each([
    ['host', 'qemu+ssh://host/system'],
    ['192.168.1.10', 'qemu+ssh://192.168.1.10/system'],
    ['root@host:2222', 'qemu+ssh://root@host:2222/system'],
    ['::1', 'qemu+ssh://[::1]/system'],
    ['root@[2001:db8::1]:22', 'qemu+ssh://root@[2001:db8::1]:22/system'],
  ])('%s → %s', (address, uri) => {
    expect(uriForHost(address)).toBe(uri)
  })

  it.each(['', '-oX', 'a b', 'host/session', 'host?command=x', 'host#', 'fe80::1%eth0', 'root@::1', 'root:pw@host'])(
    '%j is no address',
    (address) => {
      expect(() => uriForHost(address)).toThrow(refusal())
    },
  )
})

/** Text near enough to a URI to get far into the parser. */
const word = fc.oneof(
  fc.constantFrom(
    '',
    'h',
    'root',
    '-oX',
    '::1',
    '[::1]',
    '%20',
    '%41',
    '$(id)',
    "'",
    '/',
    '/run/x',
    '虚拟',
    '=',
    '&',
    '@',
  ),
  fc.string({ unit: 'binary', maxLength: 6 }),
)
const almost = fc
  .tuple(
    fc.constantFrom('qemu', 'qemu+unix', 'qemu+ssh', 'qemu+tls', 'qemu+tcp', 'xen', ''),
    fc.constantFrom('://', ':', '//', ''),
    word,
    fc.constantFrom('@', ':', '', ':22', ':99999'),
    word,
    fc.constantFrom('/system', '/session', '/', ''),
    fc.array(fc.tuple(fc.constantFrom('socket', 'mode', 'proxy', 'netcat', 'keyfile', 'no_verify', 'x', ''), word), {
      maxLength: 3,
    }),
  )
  .map(([scheme, colon, left, between, right, path, query]) => {
    const pairs = query.map(([name, value]) => `${name}=${value}`).join('&')
    return `${scheme}${colon}${left}${between}${right}${path}${pairs === '' ? '' : `?${pairs}`}`
  })

const plain = fc.stringMatching(/^\/[A-Za-z0-9_./+,=:虚拟-]{0,20}$/)
const anyPath = fc.string({ unit: 'grapheme', maxLength: 20 }).map((text) => `/${text.replaceAll(/\p{Cc}/gu, '')}`)
const optional = <T>(values: fc.Arbitrary<T>) => fc.option(values, { nil: undefined })
const host = fc.oneof(
  fc.domain(),
  fc.ipV4(),
  fc.ipV6().map((address) => `[${address}]`),
)
const valid = fc.oneof(
  fc.record({ scheme: fc.constantFrom('qemu', 'qemu+unix'), authority: fc.constant(''), socket: optional(anyPath) }),
  fc.record({
    scheme: fc.constant('qemu+ssh'),
    authority: fc
      .tuple(
        optional(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,10}$/)),
        host,
        optional(fc.integer({ min: 1, max: 65_535 })),
      )
      .map(([user, host, port]) => `${user ? `${encodeURIComponent(user)}@` : ''}${host}${port ? `:${port}` : ''}`),
    socket: optional(plain),
    keyfile: optional(plain),
    known_hosts: optional(plain),
    known_hosts_verify: optional(fc.constantFrom('normal', 'auto', 'ignore')),
    command: optional(fc.constant('/usr/bin/ssh')),
    netcat: optional(fc.constantFrom('nc', '/bin/nc')),
  }),
  fc.record({
    scheme: fc.constantFrom('qemu', 'qemu+tls'),
    authority: host,
    pkipath: optional(anyPath),
    no_verify: optional(fc.constantFrom('0', '1')),
  }),
)

describe('properties', () => {
  it('no text whatever makes the parser fail otherwise, and what it accepts prints back to its equal', () => {
    fc.assert(
      fc.property(fc.oneof(almost, fc.string({ unit: 'binary' })), (text) => {
        let uri: LibvirtUri
        try {
          uri = parseLibvirtUri(text, { allow: RISKS })
        } catch (error) {
          expect(error).toMatchObject({ code: 'ATP_LIBVIRT_URI' })
          return
        }
        expect(parseLibvirtUri(formatLibvirtUri(uri), { allow: RISKS })).toStrictEqual(uri)
      }),
      { numRuns: 5000 },
    )
  })

  it('valid URIs are accepted and print back to their equals', () => {
    fc.assert(
      fc.property(valid, fc.constantFrom('/system', '/session'), ({ scheme, authority, ...parameters }, path) => {
        const query = Object.entries(parameters).flatMap(([name, value]) =>
          value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
        )
        if (path === '/session' && 'netcat' in parameters && parameters.netcat && !parameters.socket) return
        const uri = parseLibvirtUri(`${scheme}://${authority}${path}${query.length > 0 ? `?${query.join('&')}` : ''}`, {
          allow: RISKS,
        })
        expect(parseLibvirtUri(formatLibvirtUri(uri), { allow: RISKS })).toStrictEqual(uri)
        expect(uri.path).toBe(path)
        if ('socket' in parameters) expect(uri.socketPath).toBe(parameters.socket)
      }),
      { numRuns: 1000 },
    )
  })

  it('nothing that is accepted for ssh can be an option or mean anything to a shell', () => {
    fc.assert(
      fc.property(almost, (text) => {
        let uri: LibvirtUri
        try {
          uri = parseLibvirtUri(text, { allow: RISKS })
        } catch {
          return
        }
        if (uri.transport !== 'ssh') return
        for (const part of [uri.host, uri.user, uri.socketPath, uri.netcat, uri.keyfile, uri.knownHosts, uri.command]) {
          if (part !== undefined) expect(part).toMatch(/^[^-\s'"`$\\;&|<>(){}*?!#~%][^\s'"`$\\;&|<>(){}*?!#~%]*$/u)
        }
      }),
      { numRuns: 5000 },
    )
  })
})
