/** The files of a repository as the checks see them: path, text, and what they import. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'

export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

export interface SourceFile {
  /** From the root, with slashes. */
  readonly path: string
  readonly text: string
}

/** One import of a file: of another file (`path`, from the root) or of a package. */
export interface Import {
  readonly specifier: string
  readonly path: string | undefined
}

const TEXT = /\.(tsx?|js|cjs|json|md|yml)$|^bin\/skein$|^\.ci\/run$/

/** Tracked files and new ones that git does not ignore: what the next commit would hold; of images the path alone. */
export function readRepository(): SourceFile[] {
  const list = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT })
  const files: SourceFile[] = []
  for (const path of list.toString().split('\0')) {
    const isImage = /\.(png|svg)$/.test(path)
    if (!isImage && !TEXT.test(path)) continue
    if (path === 'package-lock.json') continue
    try {
      files.push({ path, text: isImage ? '' : readFileSync(join(ROOT, path), 'utf8') })
    } catch (error) {
      // deleted, and not committed yet
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    }
  }
  return files
}

/** `new URL('./x.ts', …)`, or with the ending of the file itself, which is `.js` once built. */
const URL_IMPORT = /new URL\(\s*['`](\.[^'`$]+)(?:\.ts|\$\{extname\(import\.meta\.url\)\})['`]/g

/**
 * Everything that `file` imports: static, dynamic and type imports, re-exports, and files named by a URL, which start as
 * processes of their own.
 */
export function importsOf(file: SourceFile): Import[] {
  if (!/\.(tsx?|js|cjs)$|^bin\/skein$/.test(file.path)) return []
  const specifiers = ts.preProcessFile(file.text, true, true).importedFiles.map((found) => found.fileName)
  for (const [, specifier] of file.text.matchAll(URL_IMPORT)) specifiers.push(`${specifier}.ts`)
  return specifiers.map((specifier) => ({
    specifier,
    path: specifier.startsWith('.') ? posix.normalize(posix.join(posix.dirname(file.path), specifier)) : undefined,
  }))
}
