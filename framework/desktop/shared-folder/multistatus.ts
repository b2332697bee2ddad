import type { Stats } from 'node:fs'
import { urlPathOf } from './folder-path.ts'

/** Something in a shared folder. */
export interface FolderEntry {
  names: readonly string[]
  stats: Pick<Stats, 'isDirectory' | 'size' | 'mtimeMs' | 'birthtimeMs'>
}

/** Tells one content of a file from another. */
export function etagOf({ size, mtimeMs }: FolderEntry['stats']): string {
  return `"${size.toString(16)}-${Math.round(mtimeMs * 1000).toString(16)}"`
}

/** The answer to a PROPFIND (RFC 4918, section 9.1): all properties of these entries. */
export function multistatus(entries: readonly FolderEntry[]): string {
  const responses = entries.map(response).join('')
  return `<?xml version="1.0" encoding="utf-8"?>\n<D:multistatus xmlns:D="DAV:">${responses}</D:multistatus>`
}

function response({ names, stats }: FolderEntry): string {
  const folder = stats.isDirectory()
  const properties = [
    `<D:displayname>${xmlText(names.at(-1) ?? '')}</D:displayname>`,
    `<D:creationdate>${new Date(stats.birthtimeMs).toISOString()}</D:creationdate>`,
    `<D:getlastmodified>${new Date(stats.mtimeMs).toUTCString()}</D:getlastmodified>`,
    `<D:getetag>${xmlText(etagOf(stats))}</D:getetag>`,
    folder
      ? '<D:resourcetype><D:collection/></D:resourcetype>'
      : `<D:resourcetype/><D:getcontentlength>${stats.size}</D:getcontentlength>`,
  ].join('')
  const href = xmlText(urlPathOf(names, folder))
  const found = `<D:propstat><D:prop>${properties}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>`
  return `<D:response><D:href>${href}</D:href>${found}</D:response>`
}

/** Characters that no XML can hold, which names of files may, become a question mark. */
function xmlText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll(/[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu, '?')
}
