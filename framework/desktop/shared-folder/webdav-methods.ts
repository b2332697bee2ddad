import { createReadStream, createWriteStream } from 'node:fs'
import { cp, lstat, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { randomUUID } from 'node:crypto'
import { basename, dirname, join, sep } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { resolveFolderPath, type FolderPath } from './folder-path.ts'
import { HttpFailure } from './http-failure.ts'
import { etagOf, multistatus, type FolderEntry } from './multistatus.ts'

/** Entries that one listing may have. */
const ENTRIES_MAX = 10_000
/** Longest body of a request that is not a file. */
const BODY_MAX_BYTES = 64 * 1024

/** One request: where it leads, and how to answer. */
interface FolderRequest {
  root: string
  at: FolderPath
  request: IncomingMessage
  response: ServerResponse
}
type Method = (request: FolderRequest) => Promise<void>

/** What the server does (RFC 4918, class 1). A property that was not asked for is told all the same. */
export const WEBDAV_METHODS: Readonly<Record<string, Method>> = {
  OPTIONS: async ({ response }) => {
    response.writeHead(200, { Allow: Object.keys(WEBDAV_METHODS).join(', '), DAV: '1', 'Content-Length': 0 }).end()
  },

  PROPFIND: async ({ root, at, request, response }) => {
    const depth = request.headers.depth ?? 'infinity'
    if (depth !== '0' && depth !== '1') throw new HttpFailure(403, 'listings go one folder deep')
    await readSmallBody(request)
    const own: FolderEntry = { names: at.names, stats: await stat(at.file) }
    const entries = depth === '1' && own.stats.isDirectory() ? [own, ...(await entriesOf(root, at))] : [own]
    const body = Buffer.from(multistatus(entries))
    response.writeHead(207, { 'Content-Type': 'application/xml; charset=utf-8', 'Content-Length': body.length })
    response.end(body)
  },

  GET: get,
  HEAD: get,

  PUT: async ({ at, request, response }) => {
    if (request.headers['content-range'] !== undefined) throw new HttpFailure(400, 'only whole files')
    const existing = await statOrNothing(at.file)
    if (existing?.isDirectory() || at.names.length === 0) throw new HttpFailure(405, 'a folder is there')
    await assertParent(at)
    // Nobody sees half a file, and an upload that breaks off leaves none.
    const part = join(dirname(at.file), `.${randomUUID()}.part`)
    try {
      await pipeline(request, createWriteStream(part, { flags: 'wx' }))
      await rename(part, at.file)
    } catch (error) {
      await rm(part, { force: true })
      throw error
    }
    response.writeHead(existing ? 204 : 201, { ETag: etagOf(await stat(at.file)) }).end()
  },

  DELETE: async ({ at, response }) => {
    if (at.names.length === 0) throw new HttpFailure(403, 'the shared folder itself stays')
    await lstat(at.file)
    await rm(at.file, { recursive: true })
    response.writeHead(204).end()
  },

  MKCOL: async ({ at, request, response }) => {
    if ((await readSmallBody(request)) > 0) throw new HttpFailure(415, 'a folder has no body')
    await assertParent(at)
    await mkdir(at.file)
    response.writeHead(201).end()
  },

  COPY: (request) =>
    transfer(request, async (from, to) => {
      // Only the folder itself, without what is in it.
      if (request.request.headers.depth === '0' && (await stat(from)).isDirectory()) await mkdir(to)
      else await cp(from, to, { recursive: true, errorOnExist: true, force: false, verbatimSymlinks: true })
    }),

  MOVE: (request) => {
    if (request.at.names.length === 0) throw new HttpFailure(403, 'the shared folder itself stays')
    return transfer(request, rename)
  },
}

async function get({ at, request, response }: FolderRequest): Promise<void> {
  const stats = await stat(at.file)
  if (!stats.isFile()) throw new HttpFailure(stats.isDirectory() ? 405 : 403, 'not a file')
  response.writeHead(200, {
    'Content-Type': 'application/octet-stream',
    'Content-Length': stats.size,
    'Last-Modified': new Date(stats.mtimeMs).toUTCString(),
    ETag: etagOf(stats),
  })
  if (request.method === 'HEAD' || stats.size === 0) return void response.end()
  // A file that grows meanwhile is given as long as it was said to be.
  await pipeline(createReadStream(at.file, { end: stats.size - 1 }), response)
}

async function entriesOf(root: string, { file, names }: FolderPath): Promise<FolderEntry[]> {
  const found = await readdir(file)
  if (found.length > ENTRIES_MAX) throw new HttpFailure(507, `more than ${ENTRIES_MAX} entries`)
  const entries: FolderEntry[] = []
  for (const name of found) {
    // What leads out of the folder, or has gone meanwhile, is not in it.
    const entry = await resolveFolderPath(root, `/${[...names, name].map(encodeURIComponent).join('/')}`).catch(
      () => undefined,
    )
    const stats = entry && (await statOrNothing(entry.file))
    if (entry && stats) entries.push({ names: entry.names, stats })
  }
  return entries
}

async function transfer(
  { root, at, request, response }: FolderRequest,
  work: (from: string, to: string) => Promise<void>,
): Promise<void> {
  const to = await resolveFolderPath(root, destinationOf(request))
  await stat(at.file)
  await assertParent(to)
  if (to.file === at.file || `${to.file}${sep}`.startsWith(`${at.file}${sep}`)) {
    throw new HttpFailure(403, 'into itself')
  }
  const existing = await statOrNothing(to.file)
  if (existing && request.headers['overwrite'] === 'F') throw new HttpFailure(412, 'something is there')
  if (`${at.file}${sep}`.startsWith(`${to.file}${sep}`)) throw new HttpFailure(403, 'onto the folder that it is in')
  if (existing) await rm(to.file, { recursive: true })
  await work(at.file, to.file)
  response.writeHead(existing ? 204 : 201).end()
}

/** The path of the Destination header, which is a whole URL or a path; the host means this server. */
function destinationOf({ headers }: IncomingMessage): string {
  const { destination } = headers
  if (typeof destination !== 'string') throw new HttpFailure(400, 'no destination')
  return destination.replace(/^[a-z]+:\/\/[^/]*/i, '') || '/'
}

async function assertParent({ file, names }: FolderPath): Promise<void> {
  if (names.length === 0) throw new HttpFailure(405, 'the shared folder is there')
  const parent = await statOrNothing(dirname(file))
  if (!parent?.isDirectory()) throw new HttpFailure(409, `no folder to put ${basename(file)} into`)
}

async function statOrNothing(file: string) {
  return stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined
    throw error
  })
}

async function readSmallBody(request: IncomingMessage): Promise<number> {
  let sizeBytes = 0
  for await (const chunk of request) {
    sizeBytes += (chunk as Buffer).length
    if (sizeBytes > BODY_MAX_BYTES) throw new HttpFailure(413, `more than ${BODY_MAX_BYTES} bytes`)
  }
  return sizeBytes
}
