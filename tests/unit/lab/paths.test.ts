import { describe, expect, it } from 'vitest'
import { labPaths } from '../../../lab/paths.ts'

describe('folders of the lab', () => {
  it('are under /var/lib for root, in the cache for everybody else, and where ATP_HOME says', () => {
    expect(labPaths({}, 0).home).toBe('/var/lib/atp')
    expect(labPaths({ XDG_CACHE_HOME: '/home/me/c' }, 1000).home).toBe('/home/me/c/atp')
    expect(labPaths({}, 1000).home).toMatch(/\/\.cache\/atp$/)
    expect(labPaths({ ATP_HOME: '/srv/atp', XDG_CACHE_HOME: '/x' }, 0)).toEqual({
      home: '/srv/atp',
      images: '/srv/atp/images',
      hosts: '/srv/atp/hosts',
      facts: '/srv/atp/facts.json',
    })
  })

  it('must be short enough for sockets, and the message says by how much they are not', () => {
    const home = (length: number) => `/${'x'.repeat(length - 1)}`
    expect(labPaths({ ATP_HOME: home(47) }).home).toHaveLength(47)
    expect(() => labPaths({ ATP_HOME: home(50) })).toThrow(/ATP_HOME to a path that is at least 3 bytes shorter/)
    // Bytes count, not characters.
    expect(() => labPaths({ ATP_HOME: `/${'漢'.repeat(20)}` })).toThrow(
      expect.objectContaining({ code: 'ATP_LAB_PATH' }),
    )
  })

  it('must not depend on the working directory', () => {
    expect(() => labPaths({ ATP_HOME: 'here' })).toThrow(/not an absolute path/)
  })
})
