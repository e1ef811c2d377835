/**
 * Pulling a model that is not one GGUF file. Each file is brought by itself, over what a pull of one file has: a part that is
 * gone on with, and a digest that decides. What is whole waits in a folder of the pull's own, and the folder goes into the
 * store in one step, when the model as a whole was found to be what it should be:
 *
 *   parts/<key>.json, .lock    of the whole pull: who has it, and for people
 *   parts/<key>.files/         files that are whole, by the names that they will have
 *   parts/<other key>.part     what has come of the others
 */
import { createHash } from 'node:crypto'
import { link, mkdir, readdir, rename, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { asModelDigest, asSkeinError, SkeinError, type ModelDigest } from '../../../mesh/protocol/index.ts'
import { FileLock, sleep, writeFileAtomic } from '../../../mesh/runtime/index.ts'
import { describeOnnx, readGguf } from '../../engines/index.ts'
import { checkSpace } from './disk.ts'
import type { DownloadComponents } from './download.ts'
import { fetchPart, gitSha1Of, isWorthless, type FetchInit } from './fetch-part.ts'
import { whole } from './head-check.ts'
import { identityOf } from './identity.ts'
import type { HashedFile, StoredModel } from './index-file.ts'
import {
  adaptedManifest,
  MANIFEST_FILE,
  manifestDigest,
  manifestText,
  onnxManifest,
  type Manifest,
} from './manifest.ts'
import { moveFolderInto, type ModelStore } from './model-store.ts'
import { doneBytesOf, readPartRecord, type PartRecord } from './part.ts'
import type { FileOfModel, LocatedFiles, RemoteFile } from './source.ts'
import { copyFile, hashFile, takeOver, type Taking } from './take-over.ts'

export interface FilesPullComponents extends DownloadComponents {
  readonly store: ModelStore
}

/** What the pull was told, and whom it tells. */
export interface FilesPullInit extends Pick<FetchInit, 'connections' | 'keepFree' | 'onRetry'> {
  readonly name: string
  readonly reference: string
  /** Digest that the model must have. */
  readonly digest?: ModelDigest
  readonly copy: boolean
  readonly onBegan: (resumedBytes: number) => void
  readonly onProgress: (doneBytes: number) => void
  /** Another pull has it, and so many of its bytes. */
  readonly onWaiting: (doneBytes: number) => void
  /** Gives a model that is in the store the name and the reference that are wanted. */
  readonly named: (known: StoredModel) => Promise<StoredModel>
}

export interface FilesPulled {
  readonly model: StoredModel
  readonly how: 'pulled' | 'present' | Taking
}

interface WholeFile {
  readonly digest: ModelDigest
  readonly sizeBytes: number
}

const WAIT_MS = 500
/** From what costs least to what costs most: what is told of a model is what its dearest file took. */
const WAYS: readonly FilesPulled['how'][] = ['linked', 'shared', 'referenced', 'copied', 'pulled']

/**
 * Brings `located` into the store, or finds it there.
 *
 * @throws SkeinError as `pull`.
 */
export async function pullFiles(
  components: FilesPullComponents,
  located: LocatedFiles,
  init: FilesPullInit,
  signal: AbortSignal,
): Promise<FilesPulled> {
  try {
    return await new FilesPull(components, located, init, signal).run()
  } finally {
    for (const { from } of located.files) if (from.kind === 'remote') from.outcome?.close()
  }
}

class FilesPull {
  readonly #components: FilesPullComponents
  readonly #located: LocatedFiles
  readonly #init: FilesPullInit
  readonly #signal: AbortSignal
  readonly #key: string
  readonly #folder: string
  /** Files that are whole, by their names. */
  readonly #whole = new Map<string, WholeFile>()
  /** Bytes that are there, of each file. */
  readonly #haveBytes = new Map<string, number>()
  readonly #ways = new Set<FilesPulled['how']>()
  /** Of files that nobody else could write to. */
  readonly #hashed: HashedFile[] = []

  constructor(components: FilesPullComponents, located: LocatedFiles, init: FilesPullInit, signal: AbortSignal) {
    this.#components = components
    this.#located = located
    this.#init = init
    this.#signal = signal
    this.#key = keyOf(`files ${located.digest ?? init.reference}`)
    this.#folder = components.store.partFolder(this.#key)
  }

  async run(): Promise<FilesPulled> {
    const { store } = this.#components
    const free = await this.#locked(this.#key, () => this.#present())
    if (!(free instanceof FileLock)) return { how: 'present', model: await this.#init.named(free) }
    try {
      return await this.#runAlone()
    } finally {
      await store.locks.releasePart(this.#key, free)
    }
  }

  async #runAlone(): Promise<FilesPulled> {
    const { store } = this.#components
    const { name, reference } = this.#init
    const { sizeBytes, digest } = this.#located
    // of files of this machine it costs nothing to see first which model they are
    if (!this.#isLocal)
      await store.checkName({ name, references: [reference], ...(digest !== undefined && { digest }) })
    const { record } = store.partPaths(this.#key)
    const said: PartRecord = { version: 1, name, reference, sizeBytes, done: [] }
    const discard = async (): Promise<void> => {
      await rm(this.#folder, { recursive: true, force: true })
      await rm(record, { force: true })
    }
    try {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 })
      // whoever looks for what is unfinished finds it by this
      await writeFileAtomic(record, JSON.stringify(said))
      await this.#clean()
      await this.#bringAll()
    } catch (thrown) {
      // one file that is wrong was thrown away by itself: the others are as good as before
      await this.#look().catch(() => {})
      if (this.#doneBytes === 0) await discard()
      throw thrown
    }
    try {
      const pulled = await this.#add()
      await discard()
      return pulled
    } catch (thrown) {
      if (isWorthless(thrown)) await discard()
      throw thrown
    }
  }

  async #bringAll(): Promise<void> {
    const { disk, store } = this.#components
    const { files, sizeBytes } = this.#located
    const { copy, keepFree, onBegan } = this.#init
    await this.#look()
    if (!this.#isLocal || copy) await checkSpace(disk, store.dir, sizeBytes - this.#doneBytes, keepFree)
    onBegan(this.#doneBytes)
    for (const file of files) {
      const { name, bytesMax, from } = file
      if (from.sizeBytes > bytesMax)
        throw new SkeinError(
          'MODEL_FILE_INVALID',
          `${from.file}: it has ${from.sizeBytes} bytes, more than ${bytesMax}`,
        )
      const sha256 = await this.#bring(file, join(this.#folder, name))
      this.#whole.set(name, { digest: asModelDigest(`sha256:${sha256}`), sizeBytes: from.sizeBytes })
      this.#tell(name, from.sizeBytes)
    }
  }

  /** Removes what an earlier pull left of files that the model no longer has: they would be taken for its own. */
  async #clean(): Promise<void> {
    const names = this.#located.files.map(({ name }) => name)
    for (const entry of await readdir(this.#folder, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath, entry.name)
      if (!entry.isDirectory() && !names.includes(relative(this.#folder, path).split(sep).join('/'))) await rm(path)
    }
  }

  /** Sees what is there. */
  async #look(): Promise<void> {
    for (const file of this.#located.files) {
      const kept = await stat(join(this.#folder, file.name)).catch(() => undefined)
      const record = await readPartRecord(this.#components.store.partPaths(this.#keyOfFile(file)).record)
      const isSame = record?.sizeBytes === file.from.sizeBytes && record.sha256 === file.from.sha256
      this.#haveBytes.set(file.name, kept?.size ?? (isSame ? doneBytesOf(record) : 0))
    }
  }

  /** Puts a file at `target`; gives its SHA-256. */
  async #bring(file: FileOfModel, target: string): Promise<string> {
    const { from } = file
    await mkdir(dirname(target), { recursive: true, mode: 0o700 })
    if (from.kind === 'local') return this.#take(file.name, from.path, target)
    const kept = await this.#kept(target, from)
    if (kept !== undefined) return kept
    await rm(target, { force: true })
    return this.#fetch(file, from, target)
  }

  /** SHA-256 of the file that an earlier pull has left at `path`, when it is the one that is promised. */
  async #kept(path: string, { sizeBytes, sha256, gitSha1 }: RemoteFile): Promise<string | undefined> {
    const info = await stat(path).catch(() => undefined)
    if (info?.size !== sizeBytes || (sha256 ?? gitSha1) === undefined) return undefined
    const found = await hashFile(path, () => {}, this.#signal)
    const isRight = sha256 === undefined ? (await gitSha1Of(path, sizeBytes)) === gitSha1 : found === sha256
    return isRight ? found : undefined
  }

  /** A file of this machine, in the way that costs least. */
  async #take(name: string, path: string, target: string): Promise<string> {
    const onBytes = (bytes: number): void => this.#tell(name, bytes)
    const sha256 = await hashFile(path, onBytes, this.#signal)
    const taken = this.#init.copy ? undefined : await takeOver(path, target)
    this.#ways.add(taken ?? 'copied')
    if (taken === undefined && (await copyFile(path, target, onBytes, this.#signal)) !== sha256)
      throw new SkeinError('MODEL_FILE_INVALID', `${path}: it changed while it was copied`)
    return sha256
  }

  async #fetch(file: FileOfModel, from: RemoteFile, target: string): Promise<string> {
    const { store } = this.#components
    const { name: model, reference, onRetry, connections, keepFree } = this.#init
    const { sizeBytes, sha256, gitSha1, validator = gitSha1 } = from
    const key = this.#keyOfFile(file)
    const free = await this.#locked(key, () => this.#held(from))
    if (!(free instanceof FileLock)) return this.#reuse(free.path, target, file.name)
    this.#ways.add('pulled')
    const paths = store.partPaths(key)
    const version = { ...(sha256 !== undefined && { sha256 }), ...(validator !== undefined && { validator }) }
    const init: FetchInit = {
      file: from,
      identity: { name: model, reference, sizeBytes, ...version },
      paths,
      isGguf: this.#located.form === 'adapted',
      connections,
      onRetry,
      onBegan: () => {},
      onProgress: (bytes) => this.#tell(file.name, bytes),
      ...(keepFree && { keepFree }),
    }
    try {
      return await fetchPart(
        this.#components,
        init,
        async (found, part) => {
          await part.close()
          // the record first: it must not outlive the bytes that it claims
          await rm(paths.record, { force: true })
          await rename(part.path, target)
          const digest = asModelDigest(`sha256:${found}`)
          this.#hashed.push({ file: file.name, digest, identity: await identityOf(target) })
          return found
        },
        this.#signal,
      )
    } finally {
      await store.locks.releasePart(key, free)
    }
  }

  /** A file of the store, as one of this model too. */
  async #reuse(path: string, target: string, name: string): Promise<string> {
    const onBytes = (bytes: number): void => this.#tell(name, bytes)
    try {
      await link(path, target)
    } catch {
      return copyFile(path, target, onBytes, this.#signal)
    }
    return hashFile(target, onBytes, this.#signal)
  }

  async #held({ sha256 }: RemoteFile): Promise<{ readonly path: string } | undefined> {
    if (sha256 === undefined) return undefined
    return this.#components.store.fileWithDigest(asModelDigest(`sha256:${sha256}`))
  }

  /** The model, when the store has this very version of it. */
  async #present(): Promise<StoredModel | undefined> {
    const { store } = this.#components
    const { digest, files } = this.#located
    if (digest !== undefined) return store.withDigest(digest)
    const version = versionOf(files)
    return (await store.list()).find(
      (each) =>
        each.isPresent &&
        version !== undefined &&
        each.validator === version &&
        each.references.includes(this.#init.reference),
    )
  }

  /** The right to write the part `key`; or what `found` finds, when another pull has brought it meanwhile. */
  async #locked<T>(key: string, found: () => Promise<T | undefined>): Promise<T | FileLock> {
    const { store, clock } = this.#components
    for (;;) {
      const there = await found()
      if (there !== undefined) return there
      const lock = await store.locks.part(key)
      if (lock !== undefined) return lock
      await this.#look()
      this.#init.onWaiting(this.#doneBytes)
      await sleep(clock, WAIT_MS, this.#signal)
    }
  }

  async #add(): Promise<FilesPulled> {
    const { store, clock } = this.#components
    const { files, source, form, digest: promised } = this.#located
    const { name, reference, digest: wanted } = this.#init
    const { manifest, quantization } = await this.#understood()
    const digest = manifestDigest(manifest)
    if (promised !== undefined && digest !== promised)
      throw new SkeinError('MODEL_FILE_INVALID', `${source}: it has files that do not belong to it`)
    if (wanted !== undefined && digest !== wanted)
      throw new SkeinError('MODEL_DIGEST_MISMATCH', `${source} has the digest ${digest}, not the one of --sha256`)
    const known = await store.withDigest(digest)
    if (known !== undefined) return { how: 'present', model: await this.#init.named(known) }
    const sizeBytes = manifest.files.reduce((sum, each) => sum + this.#whole.get(each.name)!.sizeBytes, 0)
    const version = versionOf(files)
    await writeFileAtomic(join(this.#folder, MANIFEST_FILE), manifestText(manifest))
    const entry = { name, references: [reference], source, digest, sizeBytes, quantization, form, hashed: this.#hashed }
    const model = await store.add(
      { ...entry, fetchedAtMs: clock.wallMs(), ...(version !== undefined && { validator: version }) },
      moveFolderInto(this.#folder),
    )
    return { how: WAYS.findLast((way) => this.#ways.has(way)) ?? 'pulled', model }
  }

  /** What the files are, together. Those that do not belong to the model are removed. @throws SkeinError MODEL_FILE_INVALID. */
  async #understood(): Promise<{ readonly manifest: Manifest; readonly quantization: string }> {
    const { form, source } = this.#located
    try {
      return await (form === 'onnx' ? this.#understoodOnnx() : this.#understoodAdapted())
    } catch (thrown) {
      const { code, message } = asSkeinError(thrown)
      throw new SkeinError(code, message.replaceAll(this.#folder, source), { cause: thrown })
    }
  }

  async #understoodOnnx(): Promise<{ readonly manifest: Manifest; readonly quantization: string }> {
    const [graph, ...beside] = this.#located.files
    const { companions, summary } = await describeOnnx(join(this.#folder, graph!.name))
    const used = [graph!, ...beside.filter(({ role }) => companions.some((each) => each.role === role))]
    for (const { name } of beside.filter((file) => !used.includes(file))) {
      await rm(join(this.#folder, name))
      if (dirname(name) !== '.') await rmdir(join(this.#folder, dirname(name)))
    }
    const files = used.map(({ role, name }) => ({ role, digest: this.#whole.get(name)!.digest }))
    return { manifest: onnxManifest(files), quantization: summary.quantization }
  }

  async #understoodAdapted(): Promise<{ readonly manifest: Manifest; readonly quantization: string }> {
    const [base, ...adapters] = this.#located.files
    const path = join(this.#folder, base!.name)
    const summary = await readGguf(path)
    whole(path, summary)
    if (summary.isAdapter) throw new SkeinError('MODEL_FILE_INVALID', `${path}: an adapter, and no model`)
    for (const { name } of adapters)
      if (!(await readGguf(join(this.#folder, name))).isAdapter)
        throw new SkeinError('MODEL_FILE_INVALID', `${join(this.#folder, name)}: a model, and no adapter`)
    const digestOf = ({ name }: FileOfModel): ModelDigest => this.#whole.get(name)!.digest
    const changes = adapters.map((each) => ({ digest: digestOf(each), scale: each.scale ?? 1 }))
    return { manifest: adaptedManifest(digestOf(base!), changes), quantization: summary.quantization }
  }

  get #isLocal(): boolean {
    return this.#located.files.every(({ from }) => from.kind === 'local')
  }

  get #doneBytes(): number {
    return [...this.#haveBytes.values()].reduce((sum, bytes) => sum + bytes, 0)
  }

  #tell(name: string, bytes: number): void {
    this.#haveBytes.set(name, bytes)
    this.#init.onProgress(this.#doneBytes)
  }

  /** One part for one content, whichever model it is of; without a digest, for one file of one reference. */
  #keyOfFile({ name, from }: FileOfModel): string {
    return from.sha256?.slice(0, KEY_LENGTH) ?? keyOf(`${this.#init.reference} ${name}`)
  }
}

const KEY_LENGTH = 32
const keyOf = (text: string): string => createHash('sha256').update(text).digest('hex').slice(0, KEY_LENGTH)

/** Changes when any of the files does; `undefined` when a source does not tell. */
function versionOf(files: readonly FileOfModel[]): string | undefined {
  const versions = files.map(({ name, from }) => {
    const version = from.kind === 'local' ? undefined : (from.sha256 ?? from.gitSha1 ?? from.validator)
    return version === undefined ? undefined : `${name} ${version}`
  })
  return versions.includes(undefined) ? undefined : keyOf(versions.join('\n'))
}
