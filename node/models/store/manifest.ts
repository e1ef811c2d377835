/**
 * What a model of several files is made of: a text with a line for each file, of which the model's digest is the SHA-256.
 * Whoever has the text can check it against the digest, and then each file against the text. Files are named by what they
 * are to the model; where they lie is decided here alone, so that no manifest can lead anywhere.
 *
 *   model sha256:…                an ONNX model; a manifest of this line alone has the digest of the file
 *   tokenizer sha256:…            and what its answers to texts depend on, where it is there, in this order
 *   config sha256:…
 *   tokenizer config sha256:…
 *   pooling sha256:…
 *
 *   skein adapted model 1         a model with adapters
 *   base sha256:…
 *   lora sha256:… SCALE           one for each adapter, in the order in which they are applied
 *
 * These texts are part of the contract between nodes: another byte is another model.
 */
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { asModelDigest, LIMITS, SkeinError, type ModelDigest } from '../../../mesh/protocol/index.ts'
import { ONNX_FILES } from '../../engines/index.ts'

export type ManifestForm = 'onnx' | 'adapted'

/** What a file is to its model, and where it lies in the model's folder. */
export interface FileRole {
  readonly role: string
  /** Path in the folder, with `/`. */
  readonly name: string
  readonly bytesMax: number
}

export interface ManifestFile extends FileRole {
  readonly digest: ModelDigest
  /** Of an adapter. */
  readonly scale?: number
}

export interface Manifest {
  readonly form: ManifestForm
  readonly files: readonly ManifestFile[]
}

/** A model of several files, as it lies on this machine. */
export interface ModelParts {
  /** Its manifest. */
  readonly text: string
  /** In the order of the manifest. */
  readonly files: readonly PartFile[]
}

export interface PartFile {
  readonly digest: ModelDigest
  /** Absolute. */
  readonly path: string
  readonly sizeBytes: number
}

/** Of the folder of a model in the store: written last, so that a folder that has it is whole. */
export const MANIFEST_FILE = 'skein-manifest'

const ONNX_ROLES: readonly FileRole[] = Object.entries(ONNX_FILES).map(([role, file]) => ({ role, ...file }))
const ADAPTED_HEAD = 'skein adapted model 1'
const ONNX_LINE = /^(model|tokenizer|config|tokenizer config|pooling) (sha256:[0-9a-f]{64})$/
const BASE_LINE = /^base (sha256:[0-9a-f]{64})$/
const LORA_LINE = /^lora (sha256:[0-9a-f]{64}) (-?[0-9][0-9.e+-]{0,31})$/

const invalid = (why: string): SkeinError =>
  new SkeinError('MODEL_FILE_INVALID', `what says which files a model has is not usable: ${why}`)

/** @throws SkeinError INTERNAL for a role that no ONNX model has. */
export function onnxRole(role: string): FileRole {
  const found = ONNX_ROLES.find((each) => each.role === role)
  if (found === undefined) throw new SkeinError('INTERNAL', `an ONNX model has no ${role}`)
  return found
}

/** @param place From 0; the base, when absent. */
export const adaptedRole = (place?: number): FileRole => ({
  role: place === undefined ? 'base' : 'lora',
  name: place === undefined ? 'base.gguf' : `adapter-${place + 1}.gguf`,
  bytesMax: LIMITS.modelFileBytesMax,
})

export const onnxManifest = (files: readonly { readonly role: string; readonly digest: ModelDigest }[]): Manifest => ({
  form: 'onnx',
  files: files.map(({ role, digest }) => ({ ...onnxRole(role), digest })),
})

export const adaptedManifest = (
  base: ModelDigest,
  adapters: readonly { readonly digest: ModelDigest; readonly scale: number }[],
): Manifest => ({
  form: 'adapted',
  files: [
    { ...adaptedRole(), digest: base },
    // -0 and 0 are one scale
    ...adapters.map(({ digest, scale }, i) => ({ ...adaptedRole(i), digest, scale: scale + 0 })),
  ],
})

export function manifestText({ form, files }: Manifest): string {
  const lines = files.map(({ role, digest, scale }) => `${role} ${digest}${scale === undefined ? '' : ` ${scale}`}\n`)
  return `${form === 'adapted' ? `${ADAPTED_HEAD}\n` : ''}${lines.join('')}`
}

/** The digest of the model: of an ONNX model by itself that of its file, else that of the manifest. */
export function manifestDigest(manifest: Manifest): ModelDigest {
  const [first] = manifest.files
  if (manifest.form === 'onnx' && manifest.files.length === 1) return first!.digest
  return asModelDigest(`sha256:${createHash('sha256').update(manifestText(manifest)).digest('hex')}`)
}

/**
 * The manifest in `folder`; `undefined` when there is none.
 *
 * @throws SkeinError MODEL_FILE_INVALID for one that is not usable.
 */
export async function readManifest(folder: string): Promise<Manifest | undefined> {
  const path = join(folder, MANIFEST_FILE)
  const info = await stat(path).catch(() => undefined)
  if (info?.isFile() !== true) return undefined
  if (info.size > LIMITS.modelManifestBytesMax) throw invalid(`${path} has ${info.size} bytes`)
  return parseManifest(await readFile(path, 'utf8'))
}

/** @throws SkeinError MODEL_FILE_INVALID unless `text` is a manifest, in the one form that it can have. */
export function parseManifest(text: string): Manifest {
  if (text.length > LIMITS.modelManifestBytesMax)
    throw invalid(`it has over ${LIMITS.modelManifestBytesMax} characters`)
  const [head = '', ...rest] = text.split('\n').slice(0, -1)
  const manifest = head === ADAPTED_HEAD ? parseAdapted(rest) : parseOnnx([head, ...rest])
  // spaces, numbers in another form, a last line without an end: what has another digest than what was read
  if (manifestText(manifest) !== text) throw invalid('it is not in the one form that it can have')
  return manifest
}

function parseOnnx(lines: readonly string[]): Manifest {
  if (lines.length > ONNX_ROLES.length) throw invalid(`it has ${lines.length} files`)
  const files = lines.map((line) => {
    const [, role, digest] = ONNX_LINE.exec(line) ?? []
    if (role === undefined || digest === undefined) throw invalid('it has a file that belongs to no model')
    return { role, digest: asModelDigest(digest) }
  })
  const places = files.map(({ role }) => ONNX_ROLES.findIndex((each) => each.role === role))
  if (places.some((place, i) => i > 0 && place <= places[i - 1]!))
    throw invalid('a file is there twice, or out of order')
  // settings alone say nothing without a tokenizer
  if (places[0] !== 0 || (places.length > 1 && places[1] !== 1)) throw invalid('a file is missing')
  return onnxManifest(files)
}

function parseAdapted([first = '', ...rest]: readonly string[]): Manifest {
  const base = BASE_LINE.exec(first)?.[1]
  if (base === undefined) throw invalid('the model that is changed is missing')
  if (rest.length === 0 || rest.length > LIMITS.adaptersMax) throw invalid(`it has ${rest.length} adapters`)
  const adapters = rest.map((line) => {
    const [, digest, scale] = LORA_LINE.exec(line) ?? []
    if (digest === undefined || !Number.isFinite(Number(scale))) throw invalid('it has a file that belongs to no model')
    return { digest: asModelDigest(digest), scale: Number(scale) }
  })
  return adaptedManifest(asModelDigest(base), adapters)
}
