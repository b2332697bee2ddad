import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cloneXml, readSaveHeader, writeSaveXml } from '../../../lab/save-file.ts'

let folder: string
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), 'atp-save-'))))
afterAll(() => rm(folder, { recursive: true }))

const MEMORY = Buffer.from('QEVM and what follows')

/** A save file as libvirt 9 lays it out. */
function saveFile({ xml = '<domain/>', cookie = '<cookie/>', room = 4096, version = 2 } = {}): Buffer {
  const header = Buffer.alloc(92)
  header.write('LibvirtQemudSave', 'latin1')
  for (const [index, value] of [version, room, 1, 0, cookie ? Buffer.byteLength(xml) + 1 : 0].entries()) {
    header.writeUInt32LE(value, 16 + 4 * index)
  }
  const data = Buffer.alloc(room)
  data.write(`${xml}\0${cookie}`, 'utf8')
  return Buffer.concat([header, data, MEMORY])
}

async function stored(bytes: Buffer): Promise<string> {
  const path = join(folder, 'vm.save')
  await writeFile(path, bytes)
  return path
}

describe('save file', () => {
  it('takes any XML that fits, and leaves cookie and memory alone', async () => {
    const xml = fc.string({ unit: 'grapheme', maxLength: 900 }).map((text) => `<d>${text.replaceAll('\0', '')}</d>`)
    await fc.assert(
      fc.asyncProperty(xml, xml, fc.constantFrom('', '<cookie>é</cookie>'), async (before, after, cookie) => {
        const path = await stored(saveFile({ xml: before, cookie, room: 8192 }))
        const header = await readSaveHeader(path)
        expect(header).toMatchObject({ xml: before, cookie, roomBytes: 8192 })
        await writeSaveXml(path, header, after)
        expect(await readSaveHeader(path)).toMatchObject({ xml: after, cookie })
        const bytes = await readFile(path)
        expect(bytes.subarray(92 + 8192).equals(MEMORY)).toBe(true)
        // was_running and compression are libvirt's.
        expect([bytes.readUInt32LE(24), bytes.readUInt32LE(28)]).toEqual([1, 0])
      }),
      { numRuns: 40 },
    )
  })

  it('refuses XML that would run into the memory, and writes nothing', async () => {
    const original = saveFile({ room: 64 })
    const path = await stored(original)
    const header = await readSaveHeader(path)
    await expect(writeSaveXml(path, header, 'x'.repeat(60))).rejects.toMatchObject({ code: 'ATP_LAB_SAVE_FILE' })
    expect((await readFile(path)).equals(original)).toBe(true)
  })

  it.each([
    ['another magic', Buffer.alloc(5000)],
    ['an unknown version', saveFile({ version: 3 })],
    ['nothing behind the header', saveFile().subarray(0, 92)],
    ['half a header', saveFile().subarray(0, 40)],
    ['a lying length', saveFile({ room: 4096 }).fill(0xff, 20, 24)],
  ])('refuses %s', async (_, bytes) => {
    await expect(readSaveHeader(await stored(bytes))).rejects.toMatchObject({ code: 'ATP_LAB_SAVE_FILE' })
  })
})

describe('XML of a clone', () => {
  const template = `<domain type='qemu'>
  <name>template-ps2</name>
  <uuid>00000000-0000-0000-0000-000000000001</uuid>
  <metadata><note name='name'><name>kept</name></note></metadata>
  <devices>
    <disk><source file='/h/1/v/template-ps2/state.qcow2'/></disk>
    <serial><log file='/h/1/v/template-ps2/serial.log'/></serial>
    <channel><source path='/h/1/v/template-ps2-other/0'/></channel>
    <graphics type='spice' port='-1' autoport='yes' passwd='of the template'/>
    <graphics type='spice' socket='/h/1/v/template-ps2/console'/>
    <address bus='0x00' slot='0x05'/>
  </devices>
</domain>`
  const uuid = '00000000-0000-0000-0000-000000000002'
  const console = { port: 40001, ticket: 'of the clone' }
  const xml = cloneXml(template, { name: 'vm-001', uuid, from: '/h/1/v/template-ps2', to: '/h/2/v/vm-001', console })

  it('has the name and UUID of the clone', () => {
    expect(xml).toContain('<name>vm-001</name>')
    expect(xml).toContain(`<uuid>${uuid}</uuid>`)
    expect(xml).toContain('<name>kept</name>')
  })

  it('has a port and a password of its own where the console has them', () => {
    expect(xml).toContain('<graphics type="spice" port="40001" autoport="no" passwd="of the clone"/>')
    expect(xml).toContain('<graphics type="spice" socket="/h/2/v/vm-001/console"/>')
  })

  it('has its files in the clone’s folder and everything else as it was', () => {
    expect(xml).toContain('"/h/2/v/vm-001/state.qcow2"')
    expect(xml).toContain('"/h/2/v/vm-001/serial.log"')
    expect(xml).toContain('"/h/1/v/template-ps2-other/0"')
    expect(xml).toContain('slot="0x05"')
  })
})
