import { randomUUID } from 'node:crypto'
import { chmodSync, chownSync, existsSync, realpathSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { isMap, isSeq, type Document } from 'yaml'
import { configError, isAtpError, messageOf } from '../core/index.ts'
import type { HostConfig } from './define.ts'
import { parseHosts, readHostsText } from './hosts-file.ts'
import { unknownHost } from './unknown-host.ts'

/**
 * Appends a host to a hosts file, which is made if it does not exist. Comments and order stay.
 *
 * @throws `ATP_HOSTS_INVALID` when the file is, or would be, invalid; `ATP_HOSTS_FILE` when it cannot be written.
 */
export function addHost(path: string, host: HostConfig): void {
  edit(path, (document) => {
    if (document.contents === null) document.contents = document.createNode({}) as never
    const hosts = document.get('hosts', true)
    if (isSeq(hosts)) {
      // An empty list is written as [], and what is added would go on in that line.
      if (hosts.items.length === 0) hosts.flow = false
      hosts.add(document.createNode(host))
    } else document.set('hosts', document.createNode([host]))
  })
}

/**
 * Removes a host from a hosts file.
 *
 * @throws `ATP_HOST_UNKNOWN` when it is not there, `ATP_HOSTS_INVALID` also when another host repeats a part of it by
 *   an alias, `ATP_HOSTS_FILE`.
 */
export function removeHost(path: string, id: string): void {
  edit(path, (document) => {
    const hosts = document.get('hosts', true)
    const items = isSeq(hosts) ? hosts.items : []
    const ids = items.map((item) => (isMap(item) ? String(item.get('id')) : ''))
    const index = ids.indexOf(id)
    if (index < 0) throw unknownHost(id, path, ids)
    document.deleteIn(['hosts', index])
  })
}

function edit(path: string, change: (document: Document.Parsed) => void): void {
  const before = existsSync(path) ? readHostsText(path) : undefined
  const { document } = parseHosts(before ?? '', path)
  change(document)
  const text = textOf(document, path)
  // As the file's first line ends, all lines end.
  const after = before !== undefined && /^[^\n]*\r\n/.test(before) ? text.replaceAll(/\r?\n/g, '\r\n') : text
  // Never leaves behind what the next command would refuse.
  parseHosts(after, path)
  try {
    replaceFile(path, before, after)
  } catch (error) {
    if (isAtpError(error)) throw error
    throw configError('ATP_HOSTS_FILE', `the hosts file ${path} cannot be written: ${messageOf(error)}`, {
      cause: error,
      remedy: 'make the file and its folder writable, or name another one by "hostsFile"',
    })
  }
}

function textOf(document: Document.Parsed, path: string): string {
  try {
    return document.toString({ lineWidth: 0, flowCollectionPadding: true })
  } catch (error) {
    throw configError('ATP_HOSTS_INVALID', `${path} would not be valid any more: ${messageOf(error)}`, {
      cause: error,
      remedy: 'another part of the file repeats (*name) what would go (&name): write it out there first',
    })
  }
}

/** Whoever reads the file meanwhile sees the old text or the new one. Mode, owner and a symbolic link stay. */
function replaceFile(path: string, before: string | undefined, after: string): void {
  const target = before === undefined ? path : realpathSync(path)
  const draft = join(dirname(target), `.${basename(target)}.${randomUUID()}`)
  try {
    // Passwords of the old file are at no time open to more readers than before.
    writeFileSync(draft, after, { flag: 'wx', flush: true, mode: before === undefined ? 0o666 : 0o600 })
    if (before !== undefined) {
      const { mode, uid, gid } = statSync(target)
      if (process.getuid?.() === 0) chownSync(draft, uid, gid)
      chmodSync(draft, mode & 0o7777)
    }
    const now = existsSync(target) ? readHostsText(target) : undefined
    if (now !== before) {
      throw configError('ATP_HOSTS_FILE', `the hosts file ${path} was changed meanwhile by somebody else`, {
        remedy: 'give the command again',
      })
    }
    renameSync(draft, target)
  } finally {
    rmSync(draft, { force: true })
  }
}
