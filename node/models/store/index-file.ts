/**
 * What the store has: `index.json`, held against the files themselves. The files are the truth: the folder of each is its
 * digest and its name is the model's, so that an index that was lost or damaged costs where the models came from and
 * when, and no model.
 *
 *   blobs/sha256-<64 digits>/<name>.gguf     one file for each name; names of equal content are links to one file
 *   blobs/sha256-<64 digits>/<name>/         a model of several files, and its manifest, whose digest the folder has
 */
import type { Stats } from 'node:fs'
import { lstat, readdir, readFile, stat } from 'node:fs/promises'
import { isAbsolute, join, relative } from 'node:path'
import { Type, type Static } from 'typebox'
import { asModelDigest, checker, LIMITS, SkeinError, type ModelDigest } from '../../../mesh/protocol/index.ts'
import { writeFileAtomic } from '../../../mesh/runtime/index.ts'
import { FileIdentitySchema, type FileIdentity } from './identity.ts'
import { manifestDigest, manifestText, readManifest, type ManifestForm, type ModelParts } from './manifest.ts'
import { isModelName } from './reference.ts'

const INDEX_FILE = 'index.json'
const BLOBS_DIR = 'blobs'
const EXTENSION = '.gguf'
const BLOB = /^sha256-([0-9a-f]{64})$/
const INDEX_BYTES_MAX = 16 * 1024 ** 2
const TEXT_MAX = 8192

/** A file as it was when its digest was found. */
const HashedSchema = Type.Object({
  /** Path in the model's folder, with `/`; absent of a model that is one file. */
  file: Type.Optional(Type.String({ maxLength: 128 })),
  digest: Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }),
  identity: FileIdentitySchema,
})
export type HashedFile = Static<typeof HashedSchema>

const EntrySchema = Type.Object({
  name: Type.String({ maxLength: LIMITS.modelNameLengthMax }),
  digest: Type.String({ pattern: '^sha256:[0-9a-f]{64}$' }),
  sizeBytes: Type.Integer({ minimum: 0 }),
  /** What was asked for and turned out to be this, the last one last; none for a file that was found. */
  references: Type.Array(Type.String({ maxLength: TEXT_MAX }), { maxItems: 64 }),
  /** What that turned out to be. */
  source: Type.String({ maxLength: TEXT_MAX }),
  /** Version of the file at its source. */
  validator: Type.Optional(Type.String({ maxLength: 1024 })),
  quantization: Type.String({ maxLength: 64 }),
  /** Absent of a model by itself. */
  kind: Type.Optional(Type.Literal('adapter')),
  /** Of a model that is not one GGUF file. */
  form: Type.Optional(Type.Union([Type.Literal('onnx'), Type.Literal('adapted')])),
  /** Its files, those of which it is known: a node need not read them once more. */
  hashed: Type.Optional(Type.Array(HashedSchema, { maxItems: LIMITS.adaptersMax + 1 })),
  fetchedAtMs: Type.Number(),
  /** When a node last began to serve it. */
  lastUsedAtMs: Type.Optional(Type.Number()),
})
type Entry = Static<typeof EntrySchema>

export interface StoredModel extends Omit<Entry, 'digest'> {
  readonly digest: ModelDigest
  /** Its file, or its folder, named by its name. */
  readonly path: string
  /** False for a file outside of the store that is not where it was, and when one of several is not what it was. */
  readonly isPresent: boolean
  /** Its files, of one that is not one GGUF file, as far as they are there. */
  readonly parts?: ModelParts
}

const isEntry = checker(EntrySchema)
const isIndex = checker(Type.Object({ version: Type.Integer(), models: Type.Array(Type.Unknown()) }))
const VERSION = 1

export const blobDir = (dir: string, digest: ModelDigest): string =>
  join(dir, BLOBS_DIR, digest.replace('sha256:', 'sha256-'))

export const blobPath = (dir: string, digest: ModelDigest, name: string, form?: ManifestForm): string =>
  join(blobDir(dir, digest), form === undefined ? `${name}${EXTENSION}` : name)

export interface StoreContent {
  readonly models: readonly StoredModel[]
  /** Files whose name another model has: left over from an update. */
  readonly leftovers: readonly { readonly digest: ModelDigest; readonly path: string }[]
}

/**
 * The models of the store in `dir`, by name. Empty when there is no store.
 *
 * @throws SkeinError DATA_DIR_UNUSABLE when it cannot be read, or is of a newer Skein.
 */
export async function readStore(dir: string): Promise<StoreContent> {
  const entries = await readEntries(dir)
  const models = new Map<string, StoredModel>()
  const leftovers: { digest: ModelDigest; path: string }[] = []
  const known = new Set<string>()
  for (const entry of entries) {
    const model = await inspect(dir, entry)
    if (model === undefined || models.has(nameKey(entry.name))) continue
    models.set(nameKey(entry.name), model)
    known.add(model.path)
  }
  for await (const { digest, name, path } of files(dir)) {
    if (known.has(path)) continue
    const info = await lstat(path).catch(() => undefined)
    if (info === undefined || info.isDirectory() === path.endsWith(EXTENSION)) continue
    const parts = info.isDirectory() ? await readParts(path, digest) : undefined
    if (info.isDirectory() && parts === undefined) continue
    if (models.has(nameKey(name))) leftovers.push({ digest, path })
    else models.set(nameKey(name), foundModel(digest, name, path, info, parts))
  }
  const sorted = [...models.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  return { models: sorted, leftovers }
}

/** Replaces the index by `models`. The caller holds the lock of the store. */
export async function writeIndex(dir: string, models: readonly StoredModel[]): Promise<void> {
  const entries = models.map(({ path: _path, isPresent: _isPresent, parts: _parts, ...entry }) => entry)
  await writeFileAtomic(join(dir, INDEX_FILE), JSON.stringify({ version: VERSION, models: entries }, null, 1))
}

/**
 * What a pull found of the file at `path`: its digest, and what it looked like then. `undefined` for what is no file of the
 * store in `dir`, and for what nothing is known of. Whoever uses it looks whether the file is still the same.
 *
 * @throws SkeinError DATA_DIR_UNUSABLE.
 */
export async function hashedFile(
  dir: string,
  path: string,
): Promise<{ readonly digest: ModelDigest; readonly identity: FileIdentity } | undefined> {
  const within = relative(join(dir, BLOBS_DIR), path)
  if (within.startsWith('..') || isAbsolute(within)) return undefined
  for (const { name, digest, form, hashed = [] } of await readEntries(dir)) {
    const model = blobPath(dir, asModelDigest(digest), name, form)
    const found = hashed.find(({ file = '' }) => join(model, ...file.split('/')) === path)
    if (found) return { digest: asModelDigest(found.digest), identity: found.identity }
  }
  return undefined
}

/** Names that differ by case alone are one: on many disks their files would be. */
export const nameKey = (name: string): string => name.toLowerCase()

async function readEntries(dir: string): Promise<Entry[]> {
  const path = join(dir, INDEX_FILE)
  let parsed: unknown
  try {
    if ((await stat(path)).size > INDEX_BYTES_MAX) return []
    parsed = JSON.parse(await readFile(path, 'utf8'))
  } catch (thrown) {
    // No index, or a damaged one: the files say what there is.
    if (['ENOENT', 'ENOTDIR'].includes((thrown as NodeJS.ErrnoException).code ?? '') || thrown instanceof SyntaxError)
      return []
    throw unreadable(path, thrown)
  }
  if (!isIndex(parsed)) return []
  if (parsed.version > VERSION)
    throw new SkeinError('DATA_DIR_UNUSABLE', `${path} is of a newer Skein; update this one`)
  return parsed.models.filter(isEntry).filter(({ name }) => isModelName(name))
}

/** `undefined` when its file is gone. */
async function inspect(dir: string, entry: Entry): Promise<StoredModel | undefined> {
  const digest = asModelDigest(entry.digest)
  const path = blobPath(dir, digest, entry.name, entry.form)
  const link = await lstat(path).catch(() => undefined)
  if (link === undefined || link.isDirectory() !== (entry.form !== undefined)) return undefined
  if (entry.form !== undefined) {
    const parts = await readParts(path, digest)
    const isPresent = parts !== undefined && sizeOf(parts) === entry.sizeBytes
    return { ...entry, digest, path, isPresent, ...(parts && { parts }) }
  }
  const target = link.isSymbolicLink() ? await stat(path).catch(() => undefined) : link
  return { ...entry, digest, path, isPresent: target?.size === entry.sizeBytes }
}

/** The files of the model in `folder`; `undefined` when they are not all there, or are not those of `digest`. */
async function readParts(folder: string, digest: ModelDigest): Promise<FolderParts | undefined> {
  try {
    const manifest = await readManifest(folder)
    if (manifest === undefined || manifestDigest(manifest) !== digest) return undefined
    const files = manifest.files.map(async (file) => {
      const found = join(folder, ...file.name.split('/'))
      const info = await stat(found)
      if (!info.isFile()) throw new SkeinError('MODEL_FILE_INVALID', `${found}: not a file`)
      return { digest: file.digest, path: found, sizeBytes: info.size }
    })
    return { form: manifest.form, text: manifestText(manifest), files: await Promise.all(files) }
  } catch {
    // one is missing, or the manifest is damaged: it can be removed and pulled again
    return undefined
  }
}

type FolderParts = ModelParts & { readonly form: ManifestForm }

const sizeOf = ({ files }: ModelParts): number => files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)

const foundModel = (
  digest: ModelDigest,
  name: string,
  path: string,
  info: Stats,
  parts: FolderParts | undefined,
): StoredModel => ({
  name,
  digest,
  sizeBytes: parts === undefined ? info.size : sizeOf(parts),
  ...(parts && { form: parts.form, parts }),
  references: [],
  source: 'found in the store',
  quantization: '',
  fetchedAtMs: Math.round(info.mtimeMs),
  path,
  isPresent: true,
})

async function* files(
  dir: string,
): AsyncGenerator<{ digest: ModelDigest; name: string; path: string }, void, undefined> {
  for (const folder of await listDir(join(dir, BLOBS_DIR))) {
    const hex = BLOB.exec(folder)?.[1]
    if (hex === undefined) continue
    const digest = asModelDigest(`sha256:${hex}`)
    for (const file of await listDir(blobDir(dir, digest))) {
      // a folder has the name as it is
      const name = file.endsWith(EXTENSION) ? file.slice(0, -EXTENSION.length) : file
      if (isModelName(name)) yield { digest, name, path: join(blobDir(dir, digest), file) }
    }
  }
}

async function listDir(path: string): Promise<string[]> {
  try {
    return (await readdir(path)).sort()
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw unreadable(path, thrown)
  }
}

const unreadable = (path: string, cause: unknown): SkeinError =>
  new SkeinError('DATA_DIR_UNUSABLE', `${path}: ${(cause as Error).message}`, { cause })
