/**
 * The built page as a table of known files, read whole: what a request names is looked up in it, and never becomes a path
 * on the disk. Read at the first ask and again when its first document has changed.
 */
import { createHash } from 'node:crypto'
import { readdir, readFile, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import { SkeinError } from '../protocol/index.ts'

export type Encoding = 'br' | 'gzip'

export interface PageFile {
  readonly type: string
  readonly bytes: Buffer
  /** Of the bytes, without quotation marks. */
  readonly tag: string
  /** Its name has a hash of what is in it, so that it never changes. */
  readonly isImmutable: boolean
  /** Its bytes under this encoding, made once; `undefined` where that makes them no smaller. */
  encoded(encoding: Encoding): Promise<Buffer | undefined>
}

/** By path from `/`. */
export type PageFiles = ReadonlyMap<string, PageFile>

export const FIRST_DOCUMENT = '/index.html'

/** Of one page, in all: files, and bytes of them as they lie on the disk. What is made of them is smaller than they are. */
export const PAGE_FILES_MAX = 1000
export const PAGE_BYTES_MAX = 32 * 1024 ** 2

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json; charset=utf-8',
  '.webmanifest': 'application/manifest+json; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
  '.txt': 'text/plain; charset=utf-8',
}

/** Whether a file of the page could have this path. */
export const isPageKind = (path: string): boolean => TYPES[extname(path)] !== undefined

const isText = (type: string): boolean => !/^image\/(?:png|x-icon)|^font\//.test(type)

/** Vite's folder of files whose names have hashes. */
const IMMUTABLE = /^\/assets\/[\w.-]*-[\w-]{8,}\.[\w.]+$/
/** Below it a header costs more than is saved. */
const ENCODED_FROM_BYTES = 512

const brotliOf = promisify(brotliCompress)
const gzipOf = promisify(gzip)

function encode(bytes: Buffer, encoding: Encoding): Promise<Buffer> {
  if (encoding === 'gzip') return gzipOf(bytes, { level: 9 })
  // the highest level takes a hundred times as long for a few percent: somebody waits for the first page
  const params = { [constants.BROTLI_PARAM_QUALITY]: 9, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length }
  return brotliOf(bytes, { params })
}

function pageFile(path: string, bytes: Buffer, type: string): PageFile {
  const made = new Map<Encoding, Promise<Buffer | undefined>>()
  return {
    type,
    bytes,
    tag: createHash('sha256').update(bytes).digest('base64url').slice(0, 22),
    isImmutable: IMMUTABLE.test(path),
    encoded(encoding) {
      if (!isText(type) || bytes.length < ENCODED_FROM_BYTES) return Promise.resolve(undefined)
      const before = made.get(encoding)
      if (before) return before
      const making = encode(bytes, encoding).then((packed) => (packed.length < bytes.length ? packed : undefined))
      made.set(encoding, making)
      return making
    },
  }
}

/**
 * Every file below `folder` whose kind a page has; links and all else are left out.
 *
 * @throws SkeinError CONFIG_INVALID when that is no page of ours: too many files, or too large. What the file system says.
 */
export async function readPageFiles(folder: string): Promise<PageFiles> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = new Map<string, PageFile>()
  let bytesRead = 0
  for (const entry of entries) {
    const type = TYPES[extname(entry.name)]
    if (!entry.isFile() || type === undefined) continue
    const full = join(entry.parentPath, entry.name)
    const path = full.slice(folder.replace(/[/\\]+$/, '').length).replaceAll('\\', '/')
    const bytes = await readFile(full)
    bytesRead += bytes.length
    if (files.size >= PAGE_FILES_MAX || bytesRead > PAGE_BYTES_MAX)
      throw new SkeinError('CONFIG_INVALID', `${folder} is no page of Skein: it has more than one ever has`)
    files.set(path, pageFile(path, bytes, type))
  }
  return files
}

/** Tells one build of the page from another, and from its half; `undefined` when there is none. */
export async function buildOf(folder: string): Promise<string | undefined> {
  try {
    const parts = await Promise.all([FIRST_DOCUMENT, 'assets'].map((name) => stat(join(folder, name))))
    return parts.map(({ mtimeMs, size, ino }) => `${mtimeMs} ${size} ${ino}`).join(' ')
  } catch {
    return undefined
  }
}
