import { describe, expect, it } from 'vitest'
import {
  OWNER_NAMESPACE,
  ownerElement,
  ownerOf,
  parseDomainXml,
  parseOwnerElement,
  withOwner,
} from '../../../framework/protocols/libvirt/index.ts'

const XML = `<domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
  <name>虚拟机 &amp; co</name>
  <uuid>01234567-89ab-cdef-0123-456789abcdef</uuid>
  <metadata><other:thing xmlns:other='urn:other'>kept</other:thing></metadata>
  <os><type arch='x86_64' machine='pc-q35-7.2'>hvm</type></os>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <channel type='unix'>
      <source mode='bind' path='/run/a.sock'/>
      <target type='virtio' name='org.qemu.guest_agent.0' state='connected'/>
    </channel>
    <channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0' state='disconnected'/></channel>
    <channel type='unix'><target type='virtio' name='com.example.new'/></channel>
    <input type='tablet' bus='usb'/>
    <input type='keyboard' bus='virtio'/>
    <input type='keyboard' bus='ps2'/>
    <graphics type='spice' port='5901' autoport='yes' listen='127.0.0.1'><listen type='address' address='127.0.0.1'/></graphics>
    <graphics type='vnc' port='-1'><listen type='socket' socket='/run/vnc.sock'/></graphics>
    <video><model type='qxl'><resolution x='1280' y='800'/></model></video>
  </devices>
  <qemu:commandline>
    <qemu:arg value='-chardev'/><qemu:arg value='socket,id=mon2,path=/run/a,,b.sock,server=on,wait=off'/>
    <qemu:arg value='-mon'/><qemu:arg value='chardev=mon2,mode=control'/>
    <qemu:arg value='-chardev'/><qemu:arg value='socket,id=hmp,path=/run/hmp.sock'/>
    <qemu:arg value='-mon'/><qemu:arg value='chardev=hmp,mode=readline'/>
    <qemu:arg value='-qmp'/><qemu:arg value='unix:/run/direct.sock,server=on'/>
  </qemu:commandline>
</domain>`

const OWNER = { run: 'r"<&1', lease: '租约', pid: 7, expires: 1_795_170_178_123 }

describe('domain XML', () => {
  it('tells what the framework needs to know', () => {
    expect(parseDomainXml(XML)).toEqual({
      name: '虚拟机 & co',
      uuid: '01234567-89ab-cdef-0123-456789abcdef',
      type: 'kvm',
      emulator: '/usr/bin/qemu-system-x86_64',
      os: { type: 'hvm', arch: 'x86_64', machine: 'pc-q35-7.2' },
      channels: [
        {
          type: 'unix',
          targetType: 'virtio',
          name: 'org.qemu.guest_agent.0',
          state: 'connected',
          sourcePath: '/run/a.sock',
        },
        {
          type: 'spicevmc',
          targetType: 'virtio',
          name: 'com.redhat.spice.0',
          state: 'disconnected',
          sourcePath: undefined,
        },
        { type: 'unix', targetType: 'virtio', name: 'com.example.new', state: undefined, sourcePath: undefined },
      ],
      inputs: [
        { type: 'tablet', bus: 'usb' },
        { type: 'keyboard', bus: 'virtio' },
        { type: 'keyboard', bus: 'ps2' },
      ],
      graphics: [
        { type: 'spice', port: 5901, tlsPort: undefined, listen: '127.0.0.1', socketPath: undefined },
        { type: 'vnc', port: undefined, tlsPort: undefined, listen: undefined, socketPath: '/run/vnc.sock' },
      ],
      resolution: { width: 1280, height: 800 },
      qmpSocketPaths: ['/run/direct.sock', '/run/a,b.sock'],
    })
  })

  it('hides the password of a console', () => {
    const xml =
      "<domain type='qemu'><name>x</name><devices><graphics type='spice' passwd='hush hush'/></devices></domain>"
    const [console] = parseDomainXml(xml).graphics
    expect(console?.password?.reveal()).toBe('hush hush')
    expect(JSON.stringify(console)).not.toContain('hush')
  })

  it('may be as short as libvirt accepts', () => {
    expect(parseDomainXml("<domain type='qemu'><name>x</name></domain>")).toMatchObject({
      name: 'x',
      uuid: undefined,
      channels: [],
      qmpSocketPaths: [],
      resolution: undefined,
    })
  })

  it.each([
    ['nothing', ''],
    ['plain text', 'hello'],
    ['an unclosed element', "<domain type='qemu'><name>x</domain>"],
    ['a cut-off document', XML.slice(0, 900)],
    ['another document', '<network><name>x</name></network>'],
    ['an unquoted attribute', '<domain type=qemu><name>x</name></domain>'],
    ['an undeclared prefix', "<domain type='qemu'><name>x</name><a:b/></domain>"],
    ['a document type', "<!DOCTYPE d [<!ENTITY e 'x'>]><domain type='qemu'><name>&e;</name></domain>"],
    ['no name', "<domain type='qemu'></domain>"],
    [
      'a port that is no number',
      "<domain type='qemu'><name>x</name><devices><graphics type='spice' port='a'/></devices></domain>",
    ],
  ])('that is %s is refused', (_, text) => {
    expect(() => parseDomainXml(text)).toThrow(expect.objectContaining({ code: 'ATP_LIBVIRT_XML' }))
  })
})

describe('owner tag', () => {
  it('is put into a domain’s metadata, replaced and found, beside other metadata', () => {
    expect(ownerOf(XML)).toBeUndefined()
    const first = withOwner(XML, OWNER)
    expect(ownerOf(first)).toEqual(OWNER)
    const second = withOwner(first, { ...OWNER, run: 'other' })
    expect(ownerOf(second)?.run).toBe('other')
    expect(second.split(OWNER_NAMESPACE)).toHaveLength(2)
    expect(second).toContain('kept')
    expect(parseDomainXml(second)).toEqual(parseDomainXml(XML))
  })

  it('survives the form in which libvirt takes and gives it', () => {
    expect(parseOwnerElement(ownerElement(OWNER))).toEqual(OWNER)
    expect(() => parseOwnerElement("<owner run='x'/>")).toThrow(expect.objectContaining({ code: 'ATP_LIBVIRT_XML' }))
  })

  it('is made where there was no metadata', () => {
    expect(ownerOf(withOwner("<domain type='qemu'><name>x</name></domain>", OWNER))).toEqual(OWNER)
  })
})
