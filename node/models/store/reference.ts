/**
 * What people write to name a model: `hf:OWNER/REPOSITORY[:FILE|:QUANTIZATION][@REVISION]`, an `https:` URL, or a path.
 * Parsed once, here; what comes out is safe in a URL, in a file name and on a terminal.
 */
import { createHash } from 'node:crypto'
import { isIP } from 'node:net'
import { basename, resolve } from 'node:path'
import { LIMITS, SkeinError } from '../../../mesh/protocol/index.ts'

export interface HubReference {
  readonly kind: 'hub'
  readonly owner: string
  readonly repository: string
  /** Path of a file in the repository. Of `file` and `quantization` at most one is there. */
  readonly file?: string
  /** As the person wrote it, such as `q4_k_m`. */
  readonly quantization?: string
  /** Branch, tag or commit. */
  readonly revision: string
  /** The reference, in the one form that the index keeps. */
  readonly text: string
}
export interface UrlReference {
  readonly kind: 'url'
  readonly url: URL
  /** With a digest instead of the query, which may hold a secret. */
  readonly text: string
}
export interface FileReference {
  readonly kind: 'file'
  /** Absolute. */
  readonly path: string
  readonly text: string
}
/** A model that another program of this machine has. */
export interface ProgramReference {
  readonly kind: 'program'
  readonly program: 'ollama' | 'lmstudio'
  /** What stands behind the program's name. */
  readonly rest: string
  readonly text: string
}
export type ModelReference = HubReference | UrlReference | FileReference | ProgramReference

const DEFAULT_REVISION = 'main'
const HUB = /^hf:([\w][\w.-]{0,95})\/([\w][\w.-]{0,95})(?::([^:@]{1,512}))?(?:@([\w][\w./-]{0,127}))?$/
const HUB_FILE = /^[\w][\w. ()+,/-]*\.(?:gguf|onnx)$/i
const QUANTIZATION = /^[\w-]{1,32}$/
const URL_LENGTH_MAX = 4096
/** Parts of a path, none of them hidden or a climb; a tag or file behind a colon. */
const REST = /^[\w][\w.-]*(?:\/[\w][\w.-]*){0,4}(?::[\w][\w. ()+,/-]*)?$/
const REST_LENGTH_MAX = 512
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]*$/

const invalid = (why: string): SkeinError => new SkeinError('MODEL_REFERENCE_INVALID', why)

/** @throws SkeinError MODEL_REFERENCE_INVALID saying what is wrong with it. */
export function parseReference(text: string): ModelReference {
  if (text.startsWith('hf:')) return hubReference(text)
  if (/^https?:/i.test(text)) return urlReference(text)
  const [, program, rest = ''] = /^(ollama|lmstudio):(.*)$/.exec(text) ?? []
  if (program === 'ollama' || program === 'lmstudio') return programReference(program, rest)
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(text))
    throw invalid(`${printable(text)}: models come from hf: references, https: URLs and paths`)
  const path = resolve(text)
  return { kind: 'file', path, text: path }
}

function programReference(program: ProgramReference['program'], rest: string): ProgramReference {
  if (rest.length > REST_LENGTH_MAX || !REST.test(rest) || hasClimb(rest))
    throw invalid(
      `${program}:${printable(rest.slice(0, 200))}: write ollama:NAME[:TAG] or lmstudio:PUBLISHER/NAME[:FILE]`,
    )
  return { kind: 'program', program, rest, text: `${program}:${rest}` }
}

/** Whether `text` is the digest of a model. */
export const isDigest = (text: string): boolean => /^sha256:[0-9a-f]{64}$/.test(text)

/** Whether `text` says where a model comes from, rather than what it is called. */
export const isReference = (text: string): boolean => /^(?:hf|ollama|lmstudio):/.test(text)

function hubReference(text: string): HubReference {
  const [, owner, repository, which, revision = DEFAULT_REVISION] = HUB.exec(text) ?? []
  if (owner === undefined || repository === undefined || hasClimb(`${which ?? ''}/${revision}`))
    throw invalid(`${printable(text)}: write hf:OWNER/REPOSITORY, with :FILE or :QUANTIZATION and @REVISION if need be`)
  const at = revision === DEFAULT_REVISION ? '' : `@${revision}`
  const base = { kind: 'hub', owner, repository, revision } as const
  if (which === undefined) return { ...base, text: `hf:${owner}/${repository}${at}` }
  if (HUB_FILE.test(which)) return { ...base, file: which, text: `hf:${owner}/${repository}:${which}${at}` }
  if (!QUANTIZATION.test(which))
    throw invalid(
      `${printable(text)}: '${printable(which)}' is neither a .gguf or .onnx file nor a quantization like Q4_K_M`,
    )
  return { ...base, quantization: which, text: `hf:${owner}/${repository}:${which.toUpperCase()}${at}` }
}

/** Whether a path has steps that a URL would resolve away. */
export const hasClimb = (path: string): boolean => path.split('/').some((part) => part === '..' || part === '.')

function urlReference(text: string): UrlReference {
  const url = text.length <= URL_LENGTH_MAX && URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) throw invalid(`${printable(text.slice(0, 200))}: not a URL`)
  checkUrl(url)
  url.hash = ''
  const query = url.search === '' ? '' : `?sha256=${createHash('sha256').update(url.search).digest('hex').slice(0, 16)}`
  return { kind: 'url', url, text: `${url.origin}${url.pathname}${query}` }
}

/**
 * The addresses that a pull may ask: `https:` anywhere, `http:` on this machine and in private networks alone.
 *
 * @throws SkeinError MODEL_SOURCE_REFUSED.
 */
export function checkUrl(url: URL): void {
  const shown = `${url.protocol}//${printable(url.host)}`
  const refused = (why: string): SkeinError => new SkeinError('MODEL_SOURCE_REFUSED', `${shown}: ${why}`)
  if (url.username !== '' || url.password !== '') throw refused('a URL with a password in it is not taken')
  if (url.protocol === 'https:') return
  if (url.protocol !== 'http:') throw refused('models come over https:')
  if (!isPrivateHost(url.hostname))
    throw refused('http: is for this machine and private addresses; anyone on the way could change the model')
}

/** Loopback, link-local and private addresses, and names that only the local network answers. */
export function isPrivateHost(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  switch (isIP(host)) {
    case 4:
      return /^(127|10|192\.168|169\.254|172\.(1[6-9]|2\d|3[01])|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./.test(host)
    case 6:
      return host === '::1' || /^f[cd]/.test(host) || /^fe[89ab]/.test(host)
    default:
      return host === 'localhost' || host.endsWith('.localhost') || host.endsWith('.local')
  }
}

export const isModelName = (text: string): boolean =>
  NAME.test(text) && text.length <= LIMITS.modelNameLengthMax && !/\.gguf$/i.test(text)

/** The name that a file gives its model: its own, without extension and without what a name may not have. */
export function nameOfFile(path: string): string {
  const bare = basename(path)
    .replace(/\.(?:gguf|onnx)$/i, '')
    .replaceAll(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '')
    .slice(0, LIMITS.modelNameLengthMax)
    .replace(/[^A-Za-z0-9]+$/, '')
  return isModelName(bare) ? bare : 'model'
}

/** Text of a source in a message: it reaches terminals. */
export const printable = (text: string): string => text.replaceAll(/[^\x20-\x7e]/g, '?')
