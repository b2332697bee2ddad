import { describe, expect, it } from 'vitest'
import { parseLibvirtUri } from '../../../framework/protocols/libvirt/index.ts'

const none = { user: undefined, host: undefined, port: undefined, socketPath: undefined }

describe('libvirt URI', () => {
  it.each([
    ['qemu:///session', { ...none, transport: 'unix', path: '/session' }],
    ['qemu:///system', { ...none, transport: 'unix', path: '/system' }],
    [
      'qemu+unix:///session?socket=/run/a%20b',
      { ...none, transport: 'unix', path: '/session', socketPath: '/run/a b' },
    ],
    [
      'qemu+ssh://root@host:2222/system',
      { ...none, transport: 'ssh', path: '/system', user: 'root', host: 'host', port: 2222 },
    ],
    ['qemu://host.example/system', { ...none, transport: 'tls', path: '/system', host: 'host.example' }],
    ['qemu+tcp://[::1]/system', { ...none, transport: 'tcp', path: '/system', host: '[::1]' }],
  ])('%s is understood', (text, expected) => {
    expect(parseLibvirtUri(text)).toEqual(expected)
  })

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
    'qemu+ssh://-oProxyCommand=touch%20x/system',
    'qemu+ssh://-oX@host/system',
    'qemu+ssh://a b/system',
    'qemu+ssh://$(id)/system',
    'qemu+ssh://host:0/system',
    'qemu+ssh://host:65536/system',
    'qemu+ssh://host/system?command=x',
    'qemu+unix:///session?netcat=x',
    'qemu+unix:///session?socket=relative',
    'qemu+unix:///session?socket',
    'qemu+unix:///session?socket=/a&socket=/b',
    'qemu+unix:///session?socket=%zz',
    'qemu+unix:///session\n?socket=/a',
  ])('%j is refused with what is wrong and what to write', (text) => {
    expect(() => parseLibvirtUri(text)).toThrow(
      expect.objectContaining({ code: 'ATP_LIBVIRT_URI', branch: 'config', remedy: expect.any(String) }),
    )
  })
})
