import { describe, expect, it } from 'vitest'
import { parseHosts } from '../../../framework/config/hosts-file.ts'
import { resolveHost } from '../../../framework/config/resolve-host.ts'
import { parseLibvirtUri } from '../../../framework/protocols/libvirt/index.ts'
import { blocksWith, pageOf, tableRows } from './pages.ts'

describe('docs/hosts.md', () => {
  it('has hosts files that are valid', () => {
    const blocks = blocksWith('yaml', 'hosts')
    expect(blocks.length).toBeGreaterThan(0)
    for (const { text, page } of blocks) {
      const { content } = parseHosts(text, page)
      for (const { config, place } of content.hosts) {
        const { uri } = resolveHost(config, { file: page, text: place }, {})
        if (uri !== undefined) expect(() => parseLibvirtUri(uri)).not.toThrow()
      }
    }
  })

  it('has URIs that can be used', () => {
    const table = pageOf('docs/hosts.md').text.split('\n## URIs\n')[1]?.split('\n## ')[0] ?? ''
    const uris = tableRows(table).flatMap(([cell = '']) => [...cell.matchAll(/`(qemu[^`]*)`/g)].map(([, uri]) => uri))
    expect(uris.length).toBeGreaterThan(6)
    for (const uri of uris) expect(() => parseLibvirtUri(uri as string)).not.toThrow()
  })
})
