/**
 * The models of this machine, by the digest of their content, and their names. A model is a file, or a folder of several
 * (`manifest.ts`). Both come in whole, by rename or link,
 * and are never written to after; the index is replaced, never changed. Any process may use it at any time
 * (`store-locks.ts`).
 */
import { link, mkdir, open, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { LIMITS, SkeinError, type ModelDigest } from '../../../mesh/protocol/index.ts'
import { asStoreError } from './disk.ts'
import { blobDir, blobPath, nameKey, readStore, writeIndex, type StoredModel } from './index-file.ts'
import { MANIFEST_FILE, type ModelParts } from './manifest.ts'
import { doneBytesOf, Part, readPartRecord, type PartPaths } from './part.ts'
import { StoreLocks, type LockComponents } from './store-locks.ts'

const STORE_DIR = 'models'
const REFERENCES_MAX = 16
const DIGEST_PREFIX = /^(?:sha256:)?([0-9a-f]{8,64})$/

/** What is known of a model that comes in. */
export type NewModel = Omit<StoredModel, 'path' | 'isPresent' | 'lastUsedAtMs' | 'parts'>

/** What decides whether a model may have a name; the digest where it is known. */
export type NameClaim = Pick<NewModel, 'name' | 'references'> & Partial<Pick<NewModel, 'digest'>>

/** A pull that did not end. */
export interface UnfinishedModel {
  readonly key: string
  /** Of its files that are fetched by themselves, of a model of several. */
  readonly fileKeys: readonly string[]
  readonly name: string
  readonly reference: string
  readonly doneBytes: number
  readonly sizeBytes: number
}

export const storeDir = (dataDir: string): string => join(dataDir, STORE_DIR)

/** Paths of all models by themselves in the store of `dataDir`, for a node that is told no other: each content once. */
export async function defaultModels(dataDir: string): Promise<string[]> {
  const byDigest = new Map<ModelDigest, string>()
  for (const { digest, path, isPresent, kind } of (await readStore(storeDir(dataDir))).models)
    if (isPresent && kind === undefined && !byDigest.has(digest)) byDigest.set(digest, path)
  return [...byDigest.values()]
}

export class ModelStore {
  readonly dir: string
  readonly locks: StoreLocks

  constructor(components: LockComponents, dataDir: string) {
    this.dir = storeDir(dataDir)
    this.locks = new StoreLocks(components, this.dir)
  }

  /** Makes its folders, if need be. @throws SkeinError DATA_DIR_UNUSABLE, DISK_FULL. */
  async prepare(): Promise<void> {
    try {
      await mkdir(join(this.dir, 'parts'), { recursive: true, mode: 0o700 })
      await this.locks.prepare()
    } catch (thrown) {
      throw asStoreError(thrown, this.dir)
    }
  }

  /** By name. @throws SkeinError DATA_DIR_UNUSABLE. */
  async list(): Promise<readonly StoredModel[]> {
    return (await readStore(this.dir)).models
  }

  /** The model that has `text` as its name, its digest (or eight digits of it and more) or its reference. */
  async find(text: string): Promise<StoredModel | undefined> {
    return matching(await this.list(), text)[0]
  }

  /** The model of this content, whatever its name. */
  async withDigest(digest: ModelDigest): Promise<StoredModel | undefined> {
    return (await this.list()).find((model) => model.digest === digest && model.isPresent)
  }

  /** A file of this content: a model, or one of a model's files. */
  async fileWithDigest(digest: ModelDigest): Promise<{ readonly path: string } | undefined> {
    const present = (await this.list()).filter(({ isPresent }) => isPresent)
    const single = present.find((model) => model.parts === undefined && model.digest === digest)
    return single ?? present.flatMap(({ parts }) => parts?.files ?? []).find((file) => file.digest === digest)
  }

  /**
   * Takes in `model`, whose file `place` puts where it is told to: by rename, so that it is there whole or not. A model of
   * the same name and a common reference is replaced.
   *
   * @throws SkeinError MODEL_NAME_TAKEN, CONFIG_INVALID when the store is full, DISK_FULL, DATA_DIR_UNUSABLE.
   */
  async add(model: NewModel, place: (path: string) => Promise<void>): Promise<StoredModel> {
    await this.prepare()
    const path = blobPath(this.dir, model.digest, model.name, model.form)
    return this.locks.alone(async () => {
      try {
        const { models } = await readStore(this.dir)
        const others = models.filter((each) => nameKey(each.name) !== nameKey(model.name))
        checkName(models, model)
        if (others.length >= LIMITS.modelsPerNodeMax)
          throw new SkeinError('CONFIG_INVALID', `the store has ${others.length} models, which is all that a node has`)
        const folder = blobDir(this.dir, model.digest)
        await mkdir(folder, { recursive: true, mode: 0o700 })
        const before = models.find((each) => each.path === path)
        if (before === undefined || !before.isPresent) await place(path)
        await syncDirectories(folder, dirname(folder))
        const references = [...new Set([...(before?.references ?? []), ...model.references])].slice(-REFERENCES_MAX)
        const used = before?.lastUsedAtMs
        const added = { ...model, references, path, isPresent: true, ...(used !== undefined && { lastUsedAtMs: used }) }
        await writeIndex(this.dir, [...others, added])
        await this.#sweep()
        return added
      } catch (thrown) {
        throw asStoreError(thrown, path)
      }
    })
  }

  /**
   * Says before anything is fetched what `add` would say after.
   *
   * @throws SkeinError MODEL_NAME_TAKEN.
   */
  async checkName(model: NameClaim): Promise<void> {
    checkName(await this.list(), model)
  }

  /** Gives the content of `known` the name `name` too, or a model that has it another reference. @throws as `add`. */
  async addName(known: StoredModel, name: string, reference: string): Promise<StoredModel> {
    const { path: from, isPresent: _isPresent, lastUsedAtMs: _used, parts, ...content } = known
    const place = parts === undefined ? (path: string) => link(from, path) : linkFolder(from, parts)
    return this.add({ ...content, name, references: [reference] }, place)
  }

  /**
   * Removes the models that `text` names (a digest names all names of its content) or the unfinished pull of that name.
   * Files outside of the store stay.
   *
   * @throws SkeinError MODEL_NOT_STORED; MODEL_IN_USE when a running node serves the last name of a content, unless
   *   `force`; MODEL_REFERENCE_INVALID for digits that several contents begin with.
   */
  async remove(text: string, force: boolean): Promise<readonly StoredModel[]> {
    await this.prepare()
    return this.locks.alone(async () => {
      const { models } = await readStore(this.dir)
      const removed = matching(models, text)
      if (removed.length === 0) throw notStored(text, models)
      const served = await this.locks.served()
      const rest = models.filter((model) => !removed.includes(model))
      const used = removed.find(({ digest, path }) => served.has(digest) && removesFile(path, digest, rest))
      if (used !== undefined && !force)
        throw new SkeinError('MODEL_IN_USE', `a running node serves ${used.name}; stop it first, or use --force`)
      // The files first: an entry without one is passed over, and the index may need the room that they leave.
      for (const { path } of removed) await removeFile(path)
      await writeIndex(this.dir, rest)
      return removed
    })
  }

  /** Remembers that a node serves them from now on. */
  async touch(digests: readonly ModelDigest[], atMs: number): Promise<void> {
    await this.locks.alone(async () => {
      const { models } = await readStore(this.dir)
      const touched = models.map((each) => (digests.includes(each.digest) ? { ...each, lastUsedAtMs: atMs } : each))
      await writeIndex(this.dir, touched)
    })
  }

  partPaths(key: string): PartPaths {
    return { data: join(this.dir, 'parts', `${key}.part`), record: join(this.dir, 'parts', `${key}.json`) }
  }

  /** Of a model of several files: where those are that are whole. */
  partFolder(key: string): string {
    return join(this.dir, 'parts', `${key}.files`)
  }

  async unfinished(): Promise<UnfinishedModel[]> {
    const names = await readdir(join(this.dir, 'parts')).catch((): string[] => [])
    const found: (UnfinishedModel & { readonly isFolder: boolean })[] = []
    for (const file of names.filter((name) => name.endsWith('.json')).sort()) {
      const key = file.slice(0, -'.json'.length)
      const record = await readPartRecord(this.partPaths(key).record)
      if (record === undefined) continue
      const { name, reference, sizeBytes } = record
      const isFolder = names.includes(`${key}.files`)
      const doneBytes = doneBytesOf(record) + (isFolder ? await folderBytes(this.partFolder(key)) : 0)
      found.push({ key, fileKeys: [], name, reference, sizeBytes, doneBytes, isFolder })
    }
    const folders = found.filter(({ isFolder }) => isFolder)
    const isFileOf = (file: UnfinishedModel, model: UnfinishedModel): boolean =>
      file !== model && file.name === model.name && file.reference === model.reference
    const alone = found.filter((each) => each.isFolder || !folders.some((folder) => isFileOf(each, folder)))
    return alone.map(({ isFolder, ...model }) => {
      const files = isFolder ? found.filter((each) => !each.isFolder && isFileOf(each, model)) : []
      const doneBytes = files.reduce((sum, each) => sum + each.doneBytes, model.doneBytes)
      return { ...model, doneBytes, fileKeys: files.map(({ key }) => key) }
    })
  }

  /** Removes what an unfinished pull has. @throws SkeinError MODEL_IN_USE while it runs. */
  async removeUnfinished({ key, fileKeys, name }: UnfinishedModel): Promise<void> {
    for (const each of [...fileKeys, key]) {
      const isFree = await this.locks.withoutPart(each, async () => {
        await Part.discard(this.partPaths(each))
        await rm(this.partFolder(each), { recursive: true, force: true })
      })
      if (!isFree) throw new SkeinError('MODEL_IN_USE', `${name} is being pulled by another process`)
    }
  }

  /** Removes what an update has left behind, unless a node serves it. The caller holds the index. */
  async #sweep(): Promise<void> {
    const { leftovers } = await readStore(this.dir)
    if (leftovers.length === 0) return
    const served = await this.locks.served()
    for (const { digest, path } of leftovers) if (!served.has(digest)) await removeFile(path)
  }
}

/** Whether the content is gone with the file at `path`. */
const removesFile = (path: string, digest: ModelDigest, rest: readonly StoredModel[]): boolean =>
  !rest.some((model) => model.digest === digest && model.path !== path)

async function removeFile(path: string): Promise<void> {
  // of a folder each file's name alone: what its links lead to stays
  await rm(path, { recursive: true, force: true })
  // stays while it has another name in it
  await rmdir(dirname(path)).catch(() => {})
}

const sharesReference = (one: NameClaim, other: NameClaim): boolean =>
  one.references.some((each) => other.references.includes(each))

function checkName(models: readonly StoredModel[], model: NameClaim): void {
  const taken = models.find((each) => nameKey(each.name) === nameKey(model.name))
  if (taken === undefined || taken.digest === model.digest || sharesReference(taken, model)) return
  throw new SkeinError(
    'MODEL_NAME_TAKEN',
    `${taken.name} is another model here (${taken.source}); give this one a name with --name NAME`,
  )
}

/** @throws SkeinError MODEL_REFERENCE_INVALID for digits that several contents begin with. */
function matching(models: readonly StoredModel[], text: string): StoredModel[] {
  const named = models.filter((model) => nameKey(model.name) === nameKey(text))
  if (named.length > 0) return named
  const referenced = models.filter((model) => model.references.includes(text) || model.source === text)
  if (referenced.length > 0) return referenced
  const digits = DIGEST_PREFIX.exec(text)?.[1]
  if (digits === undefined) return []
  const found = models.filter((model) => model.digest.startsWith(`sha256:${digits}`))
  if (new Set(found.map((model) => model.digest)).size > 1)
    throw new SkeinError('MODEL_REFERENCE_INVALID', `${text}: several models begin with these digits; give more`)
  return found
}

export const notStored = (text: string, models: readonly StoredModel[]): SkeinError => {
  const names = models.map((model) => model.name)
  const there = names.length === 0 ? 'the store is empty' : `there is ${names.slice(0, 12).join(', ')}`
  return new SkeinError('MODEL_NOT_STORED', `no model '${text}' is in the store; ${there}`)
}

/** Moves a file within one disk. */
export const moveInto =
  (from: string): ((path: string) => Promise<void>) =>
  async (path) =>
    rename(from, path)

/** Moves a folder of files within one disk, in place of one that is not whole. */
export const moveFolderInto =
  (from: string): ((path: string) => Promise<void>) =>
  async (path) => {
    const below = (await readdir(from, { withFileTypes: true })).filter((entry) => entry.isDirectory())
    await syncDirectories(...below.map(({ name }) => join(from, name)), from)
    await rm(path, { recursive: true, force: true })
    await rename(from, path)
  }

/** Makes a folder of the same files, its manifest last. */
const linkFolder =
  (from: string, { files }: ModelParts): ((path: string) => Promise<void>) =>
  async (path) => {
    await rm(path, { recursive: true, force: true })
    for (const file of [...files.map((each) => each.path), join(from, MANIFEST_FILE)]) {
      const to = join(path, relative(from, file))
      await mkdir(dirname(to), { recursive: true, mode: 0o700 })
      await link(file, to)
    }
  }

async function folderBytes(path: string): Promise<number> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true }).catch(() => [])
  const sizes = entries.map(async ({ parentPath, name }) => {
    const info = await stat(join(parentPath, name)).catch(() => undefined)
    return info?.isFile() === true ? info.size : 0
  })
  return (await Promise.all(sizes)).reduce((sum, bytes) => sum + bytes, 0)
}

/** A rename is durable once its folder is. Windows cannot open folders, and needs it not. */
async function syncDirectories(...paths: readonly string[]): Promise<void> {
  if (process.platform === 'win32') return
  for (const path of paths) {
    const folder = await open(path, 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
  }
}

/** Whether `text` is the path of something that is there. */
export const isPath = (text: string): Promise<boolean> =>
  stat(text).then(
    () => true,
    () => false,
  )
