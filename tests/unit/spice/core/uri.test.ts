import { expect, it } from 'vitest'
import { parseSpiceUri } from '../../../../framework/protocols/spice/index.ts'

it.each([
  ['spice://host:5900', { kind: 'tcp', host: 'host', port: 5900 }],
  ['spice://host:5900/', { kind: 'tcp', host: 'host', port: 5900 }],
  ['spice://[fe80::1]:5900', { kind: 'tcp', host: 'fe80::1', port: 5900 }],
  ['spice://host:5900?tls-port=5901', { kind: 'tcp', host: 'host', port: 5900, tlsPort: 5901 }],
  ['spice://host?tls-port=5901', { kind: 'tcp', host: 'host', tlsPort: 5901 }],
  ['spice+tls://10.0.0.1:5901', { kind: 'tcp', host: '10.0.0.1', tlsPort: 5901 }],
  ['spice+unix:///run/a%20b.sock', { kind: 'unix', path: '/run/a b.sock' }],
  ['ws://host:5900/', { kind: 'websocket', url: 'ws://host:5900/' }],
  ['wss://host/spice?token=1', { kind: 'websocket', url: 'wss://host/spice?token=1' }],
])('%s', (text, address) => {
  expect(parseSpiceUri(text)).toEqual(address)
})

it.each([
  ['spice://host', /port is missing/],
  ['spice+tls://host', /port is missing/],
  ['spice://host:0', /0 is no port/],
  ['spice://host:70000', /70000 is no port/],
  ['spice://:5900', /no host/],
  ['spice://ho st:5900', /no host|not of the form/],
  ['spice://host:5900/path', /no path/],
  ['spice://host:5900?port=1', /only parameter is tls-port/],
  ['spice+tls://host:5901?tls-port=1', /no parameters/],
  ['spice+unix://run/x', /spice\+unix:\/\/\/path/],
  ['spice+unix:///a%zz', /stray %/],
  ['spice+ssh://host:1', /not of the form/],
  ['vnc://host:5900', /not of the form/],
  ['spice://user:hunter22@host:5900', /may not be part/],
  ['spice://host:5900?password=hunter22', /may not be part/],
])('%s is refused', (text, message) => {
  expect(() => parseSpiceUri(text)).toThrow(expect.objectContaining({ code: 'ATP_SPICE_URI' }))
  expect(() => parseSpiceUri(text)).toThrow(message)
  expect(() => parseSpiceUri(text)).not.toThrow(/hunter22/)
})
