import { readFileSync } from 'node:fs'
import { Ajv } from 'ajv'
import { isNode, isPair, isMap, LineCounter, parseDocument, visit, type Document } from 'yaml'
import schema from '../../schemas/hosts.schema.json' with { type: 'json' }
import { addRedaction, configError, messageOf, Secret } from '../core/index.ts'
import type { HostConfig } from './define.ts'
import { schemaProblems, settingName } from './schema-problems.ts'

/** JSON Schema of `hosts.yaml`, as published in `schemas/hosts.schema.json`. */
export const hostsSchema = schema

/** A VM whose SPICE server is named by its address instead of being asked from libvirt. */
export interface SpiceVm {
  vmId: string
  serverAddr: string
  port: number
  password: Secret | undefined
  tls: boolean
  /** Whether the server's certificate is checked. */
  tlsVerify: boolean
}

/** What a hosts file holds. */
export interface HostsFile {
  path: string
  /** `place` is file, line and column of the host. */
  hosts: { config: HostConfig; place: string }[]
  spiceVms: SpiceVm[]
}

interface Content {
  hosts?: HostConfig[]
  spice?: {
    vms?: {
      vm_id: string
      server_addr: string
      port: number
      password?: string
      tls?: boolean
      tls_verify?: boolean
    }[]
  }
}

const LARGEST_CHARACTERS = 1_048_576
const validate = new Ajv({ allErrors: true, allowUnionTypes: true }).compile<Content>(hostsSchema)

/**
 * Reads a hosts file.
 *
 * @throws `ATP_HOSTS_FILE` when it cannot be read, `ATP_HOSTS_INVALID` with every problem and its line and column.
 */
export function readHostsFile(path: string): HostsFile {
  return parseHosts(readHostsText(path), path).content
}

/** @throws `ATP_HOSTS_FILE` */
export function readHostsText(path: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(readFileSync(path))
  } catch (error) {
    throw configError('ATP_HOSTS_FILE', `the hosts file ${path} cannot be read: ${messageOf(error)}`, {
      cause: error,
      remedy: 'make it a readable UTF-8 file (an empty one will do), or remove "hostsFile" from the configuration',
    })
  }
}

/**
 * Checks the text of a hosts file. Passwords are hidden from all output from here on, also when this throws.
 *
 * @throws `ATP_HOSTS_INVALID`
 */
export function parseHosts(text: string, path: string): { content: HostsFile; document: Document.Parsed } {
  const lines = new LineCounter()
  const problems: { offset: number; message: string }[] = []
  const at = (offset: number) => {
    const { line, col } = lines.linePos(offset)
    return `${path}:${Math.max(line, 1)}:${Math.max(col, 1)}`
  }
  const refuse = () =>
    configError(
      'ATP_HOSTS_INVALID',
      `${path} is not valid:\n${problems
        .toSorted((a, b) => a.offset - b.offset)
        .map(({ offset, message }) => `  ${at(offset)}: ${message}`)
        .join('\n')}`,
      { context: { file: path } },
    )

  if (text.length > LARGEST_CHARACTERS) {
    problems.push({ offset: 0, message: `the file is longer than ${LARGEST_CHARACTERS} characters` })
    throw refuse()
  }
  const document = parseDocument(text, { lineCounter: lines, version: '1.2', schema: 'core', prettyErrors: false })
  hidePasswords(document)
  for (const { pos, message } of [...document.errors, ...document.warnings]) problems.push({ offset: pos[0], message })
  if (problems.length > 0) throw refuse()
  let data: unknown
  try {
    // An empty file is one without hosts.
    data = document.toJS({ maxAliasCount: 100 }) ?? {}
  } catch (error) {
    problems.push({ offset: 0, message: messageOf(error) })
    throw refuse()
  }
  if (!validate(data)) {
    for (const { pointer, key, message } of schemaProblems(validate.errors ?? [], hostsSchema)) {
      const offset = key === undefined ? offsetOf(document, pointer) : offsetOfKey(document, pointer, key)
      problems.push({ offset, message: `${settingName(pointer)}: ${message}` })
    }
    throw refuse()
  }
  const { hosts = [], spice } = data
  const vms = spice?.vms ?? []
  const twice = (what: string, list: string, ids: string[]) => {
    for (const [index, id] of ids.entries()) {
      const first = ids.indexOf(id)
      if (first === index) continue
      const where = at(offsetOf(document, `/${list}/${first}`))
      const offset = offsetOf(document, `/${list}/${index}`)
      problems.push({ offset, message: `the ${what} "${id}" is used twice, first at ${where}` })
    }
  }
  twice(
    'id',
    'hosts',
    hosts.map(({ id }) => id),
  )
  twice(
    'vm_id',
    'spice/vms',
    vms.map((vm) => vm.vm_id),
  )
  if (problems.length > 0) throw refuse()
  return {
    document,
    content: {
      path,
      hosts: hosts.map((config, index) => ({ config, place: at(offsetOf(document, `/hosts/${index}`)) })),
      spiceVms: vms.map((vm) => ({
        vmId: vm.vm_id,
        serverAddr: vm.server_addr,
        port: vm.port,
        password: vm.password === undefined ? undefined : new Secret(`the SPICE password of ${vm.vm_id}`, vm.password),
        tls: vm.tls ?? false,
        tlsVerify: vm.tls_verify ?? true,
      })),
    },
  }
}

/** Whatever stands behind "password" is kept out of the messages about what else is wrong in the file. */
function hidePasswords(document: Document.Parsed): void {
  visit(document, {
    Pair(_, pair) {
      const key = (pair.key as { value?: unknown } | null)?.value
      const value = (pair.value as { value?: unknown } | null)?.value
      if (key === 'password' && (typeof value === 'string' || typeof value === 'number')) addRedaction(String(value))
    },
  })
}

function pathOf(pointer: string): (string | number)[] {
  return pointer
    .split('/')
    .slice(1)
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part.replaceAll('~1', '/').replaceAll('~0', '~')))
}

/** Where the value at a pointer starts, or the nearest one around it that was written. */
function offsetOf(document: Document.Parsed, pointer: string): number {
  for (let path = pathOf(pointer); ; path = path.slice(0, -1)) {
    const node = document.getIn(path, true)
    if (isNode(node) && node.range) return node.range[0]
    if (path.length === 0) return 0
  }
}

function offsetOfKey(document: Document.Parsed, pointer: string, key: string): number {
  const parent = document.getIn(pathOf(pointer), true)
  const pair = isMap(parent)
    ? parent.items.find((item) => isPair(item) && (item.key as { value?: unknown } | null)?.value === key)
    : undefined
  return (isNode(pair?.key) ? pair.key.range?.[0] : undefined) ?? offsetOf(document, pointer)
}
