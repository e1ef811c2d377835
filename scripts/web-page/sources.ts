/** What the page is made of, and whether it has changed since the page was built. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, relative } from 'node:path'
import { ROOT } from '../tools.ts'

export const PAGE_FOLDER = join(ROOT, 'clients', 'web')
export const PAGE_TARGET = join(ROOT, 'dist', 'web')
/** Tells what was built, beside it. */
export const STAMP = 'skein-web.json'

/** `bin/web.cjs` looks at the same ones. */
const SOURCES = [
  'clients/web',
  'clients/sdk',
  'mesh/protocol',
  'scripts/web.ts',
  'scripts/web-page',
  'package-lock.json',
]

export interface Stamp {
  /** Of the sources. */
  readonly digest: string
  /** Compressed, in bytes: what the browser needs before `/` shows anything, and everything. */
  readonly initialGzipBytes: number
  readonly totalGzipBytes: number
  /** Address of each file, with its size, compressed. */
  readonly files: Readonly<Record<string, number>>
}

/** SHA-256 of every source file, by name and content, in hexadecimal. */
export function digestOfSources(): string {
  const hash = createHash('sha256')
  for (const path of SOURCES.flatMap(filesOf)) {
    const bytes = readFileSync(path)
    hash.update(`${relative(ROOT, path).replaceAll('\\', '/')}\0${bytes.length}\0`).update(bytes)
  }
  return hash.digest('hex')
}

/** What was built last; `undefined` where nothing was, or it cannot be read. */
export function readStamp(): Stamp | undefined {
  try {
    return JSON.parse(readFileSync(join(PAGE_TARGET, STAMP), 'utf8')) as Stamp
  } catch {
    return undefined
  }
}

function filesOf(source: string): string[] {
  const path = join(ROOT, source)
  if (!statSync(path).isDirectory()) return [path]
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}
