/**
 * Pulling: from what a person wrote to a model in the store. Asked for twice, it is fetched once; broken off, it goes on
 * where it was; what is not the model that was promised never gets in.
 */
import { createHash } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { asModelDigest, asSkeinError, LIMITS, SkeinError, type ModelDigest } from '../../../mesh/protocol/index.ts'
import { sleep, type Clock, type FileLock, type Random } from '../../../mesh/runtime/index.ts'
import { readGguf, type GgufSummary } from '../../engines/index.ts'
import { withRetries, type Retry } from './backoff.ts'
import { checkSpace, systemDisk, type Disk, type KeepFree } from './disk.ts'
import { fetchPart } from './fetch-part.ts'
import { FileSource } from './file-source.ts'
import { pullFiles } from './files-pull.ts'
import { HashThread } from './hash-thread.ts'
import { whole } from './head-check.ts'
import { fetchHttp, SourceClient, type Http } from './http.ts'
import { FoundSource, type ProgramDirs } from './found.ts'
import { HubSource, type HubInit } from './hub-source.ts'
import { identityOf, isSameFile } from './identity.ts'
import type { StoredModel } from './index-file.ts'
import type { MemberEvent, MemberShare } from './member-file.ts'
import { HouseFirst, MemberSource } from './member-source.ts'
import type { Members } from './members.ts'
import { isPath, moveInto, type ModelStore, type NewModel } from './model-store.ts'
import { doneBytesOf, Part, readPartRecord } from './part.ts'
import { isDigest, isModelName, nameOfFile, parseReference, printable } from './reference.ts'
import type { LocalFile, LocatedFiles, ModelSource, RemoteFile } from './source.ts'
import { copyFile, hashFile, takeOver, type Taking } from './take-over.ts'
import { UrlSource } from './url-source.ts'

export interface PullComponents {
  readonly clock: Clock
  readonly random: Random
  readonly store: ModelStore
  readonly hub: HubInit
  /** `fetch` of the runtime when absent. */
  readonly http?: Http
  /** The machine's when absent. */
  readonly disk?: Disk
  /** Other members of the mesh; none are asked when absent. */
  readonly members?: Members
  /** Where other programs of this machine keep models; they are not looked at when absent. */
  readonly programs?: ProgramDirs
}

export interface PullInit {
  /** What the model is to be called; its file's name when absent. */
  readonly name?: string
  /** Digest that the file must have, 64 hexadecimal digits. */
  readonly sha256?: string
  /** Connections to the source; 4 when absent. */
  readonly connections?: number
  readonly keepFree?: KeepFree
  /** Copies a file of this machine instead of linking to it. */
  readonly copy?: boolean
  readonly onEvent: (event: PullEvent) => void
}

/** What happens, in this order: located, waiting if need be, began, progress and retrying, checking. */
export type PullEvent =
  | {
      readonly event: 'located'
      readonly file: string
      readonly source: string
      readonly sizeBytes: number
      readonly sha256?: string
      /** Names of the members that give it. */
      readonly members?: readonly string[]
    }
  /** Another process pulls it; this one waits for it. */
  | { readonly event: 'waiting'; readonly doneBytes: number; readonly sizeBytes: number }
  | { readonly event: 'began'; readonly resumedBytes: number; readonly sizeBytes: number; readonly isRanged: boolean }
  | { readonly event: 'progress'; readonly doneBytes: number; readonly sizeBytes: number }
  | { readonly event: 'retrying'; readonly reason: string; readonly delayMs: number }
  /** The file of this machine is read for its digest. */
  | { readonly event: 'checking'; readonly doneBytes: number; readonly sizeBytes: number }
  | { readonly event: 'restarting'; readonly reason: string }
  | MemberEvent

export interface Pulled {
  readonly model: StoredModel
  /** `present`: it was in the store already. */
  readonly how: 'pulled' | 'present' | Taking
}

const DEFAULT_CONNECTIONS = 4
/** Of what is no model by itself. */
const ADAPTER = { kind: 'adapter' } as const
/** Asking what there is: a source that is not there is told sooner than one that breaks off. */
const LOCATE_FAILURES_MAX = 4
const RESTARTS_MAX = 2
const WAIT_MS = 500

/**
 * Pulls what `text` names into the store, or finds it there.
 *
 * @throws SkeinError MODEL_REFERENCE_INVALID, MODEL_NAME_TAKEN, MODEL_SOURCE_REFUSED, MODEL_SOURCE_CHANGED,
 *   MODEL_PULL_FAILED, MODEL_FILE_INVALID, MODEL_DIGEST_MISMATCH, DISK_FULL, DATA_DIR_UNUSABLE; the signal's reason. After
 *   MODEL_PULL_FAILED, DISK_FULL and the signal what came is kept, and pulling again goes on there.
 */
export async function pull(
  components: PullComponents,
  text: string,
  init: PullInit,
  signal: AbortSignal,
): Promise<Pulled> {
  const pulling = new Pull(components, init, signal)
  try {
    return await pulling.run(text)
  } finally {
    await pulling.close()
  }
}

class Pull {
  readonly #components: PullComponents
  readonly #init: PullInit
  readonly #signal: AbortSignal
  readonly #disk: Disk
  readonly #hashing: HashThread
  /** By peer, while the files of one model come. */
  #shares: Map<string, MemberShare> | undefined

  constructor(components: PullComponents, init: PullInit, signal: AbortSignal) {
    this.#components = components
    this.#init = init
    this.#signal = signal
    this.#disk = components.disk ?? systemDisk
    this.#hashing = new HashThread(components.clock, { isBackground: false })
  }

  /** Nothing more is done. Does not throw. */
  close(): Promise<void> {
    return this.#hashing.close()
  }

  async run(text: string): Promise<Pulled> {
    const { store } = this.#components
    const { name: wantedName } = this.#init
    if (wantedName !== undefined && !isModelName(wantedName))
      throw new SkeinError(
        'MODEL_REFERENCE_INVALID',
        `${printable(wantedName)}: a name has letters, digits, dot, dash and underscore, begins with a letter or digit, has ` +
          `at most ${LIMITS.modelNameLengthMax} of them, and does not end in .gguf`,
      )
    const source = await this.#sourceOf(text)
    await store.prepare()
    for (let restarts = 0; ; restarts++) {
      const file = await this.#locate(source)
      const model = { reference: source.reference, source: file.source, name: this.#init.name ?? nameOfFile(file.file) }
      try {
        if (file.kind === 'files') return await this.#pullFiles(file, model)
        return file.kind === 'local' ? await this.#import(file, model) : await this.#fetch(file, model)
      } catch (thrown) {
        const error = asSkeinError(thrown)
        if (error.code !== 'MODEL_SOURCE_CHANGED' || restarts >= RESTARTS_MAX || this.#signal.aborted) throw thrown
        this.#init.onEvent({ event: 'restarting', reason: error.message })
      }
    }
  }

  async #sourceOf(text: string): Promise<ModelSource> {
    const { clock, members, programs, hub } = this.#components
    const reference = parseReference(text)
    const inMesh = members && { members, clock, hashing: this.#hashing, onEvent: this.#onMember }
    if (reference.kind === 'file') {
      const isName = isModelName(text) || isDigest(text)
      return inMesh && isName && !(await isPath(reference.path))
        ? new MemberSource(inMesh, text)
        : new FileSource(reference)
    }
    if (reference.kind === 'program') return new FoundSource(programs ?? {}, reference)
    const client = new SourceClient({ http: this.#components.http ?? fetchHttp, clock })
    if (reference.kind === 'url') return new UrlSource(client, reference)
    const source = new HubSource(client, hub, reference)
    return inMesh ? new HouseFirst(inMesh, source) : source
  }

  async #locate(source: ModelSource): Promise<LocalFile | RemoteFile | LocatedFiles> {
    const { onEvent, sha256: wanted } = this.#init
    const signal = this.#signal
    const located = await withRetries(this.#components, LOCATE_FAILURES_MAX, this.#onRetry, signal, () =>
      source.locate(signal),
    )
    const { file, source: from, sizeBytes } = located
    const members = located.kind === 'local' ? undefined : located.members
    const sha256 = located.kind === 'files' ? located.digest?.slice('sha256:'.length) : located.sha256
    if (wanted !== undefined && sha256 !== undefined && wanted !== sha256)
      throw new SkeinError('MODEL_DIGEST_MISMATCH', `${from} has the digest sha256:${sha256}, not the one of --sha256`)
    const promised = wanted ?? sha256
    onEvent({ event: 'located', file, source: from, sizeBytes, ...optional({ sha256: promised, members }) })
    return wanted === undefined || located.kind === 'files' ? located : { ...located, sha256: wanted }
  }

  readonly #onRetry = ({ error, delayMs }: Retry): void =>
    this.#init.onEvent({ event: 'retrying', reason: error.message, delayMs: Math.round(delayMs) })

  /** What was taken from each member is told of the whole model. */
  readonly #onMember = (event: MemberEvent): void => {
    if (this.#shares === undefined || event.event !== 'shares') return this.#init.onEvent(event)
    for (const share of event.shares) {
      const bytes = share.bytes + (this.#shares.get(share.peerId)?.bytes ?? 0)
      this.#shares.set(share.peerId, { ...share, bytes })
    }
  }

  async #pullFiles(located: LocatedFiles, model: Named): Promise<Pulled> {
    const { clock, random, store } = this.#components
    const { sha256, copy = false, connections = DEFAULT_CONNECTIONS, keepFree, onEvent } = this.#init
    const { sizeBytes, files } = located
    const shares = (this.#shares = new Map<string, MemberShare>())
    const isRanged = files.every(({ from }) => from.kind === 'local' || from.isRanged)
    const pulled = await pullFiles(
      { clock, random, store, disk: this.#disk, hashing: this.#hashing },
      located,
      {
        name: model.name,
        reference: model.reference,
        copy,
        connections,
        onRetry: this.#onRetry,
        onBegan: (resumedBytes) => onEvent({ event: 'began', resumedBytes, sizeBytes, isRanged }),
        onProgress: (doneBytes) => onEvent({ event: 'progress', doneBytes, sizeBytes }),
        onWaiting: (doneBytes) => onEvent({ event: 'waiting', doneBytes, sizeBytes }),
        named: (known) => this.#named(known, model),
        ...(sha256 !== undefined && { digest: digestOf(sha256) }),
        ...(keepFree && { keepFree }),
      },
      this.#signal,
    )
    if (shares.size > 0) onEvent({ event: 'shares', shares: [...shares.values()] })
    return pulled
  }

  /** The model, when the store has what `file` would give. */
  async #present(file: Wanted, model: Named): Promise<Pulled | undefined> {
    const { store } = this.#components
    const isSameVersion = (each: StoredModel): boolean =>
      each.references.includes(model.reference) && file.validator !== undefined && each.validator === file.validator
    const known =
      file.sha256 === undefined
        ? (await store.list()).find(
            (each) => each.isPresent && isSameVersion(each) && each.sizeBytes === file.sizeBytes,
          )
        : await store.withDigest(digestOf(file.sha256))
    if (known === undefined) return undefined
    return { how: 'present', model: await this.#named(known, model) }
  }

  /** `known` under the name that was asked for, or under its own, and with this reference. */
  async #named(known: StoredModel, { reference }: Named): Promise<StoredModel> {
    const { store } = this.#components
    const { name = known.name } = this.#init
    const named = (await store.list()).find((each) => each.digest === known.digest && each.name === name)
    return named?.references.includes(reference) ? named : store.addName(known, name, reference)
  }

  async #fetch(file: RemoteFile, model: Named): Promise<Pulled> {
    const { store } = this.#components
    const key = partKey(file, model)
    const lock = await this.#lockPart(key, file, model)
    if (!('release' in lock)) return lock
    this.#hashing.begin()
    try {
      const present = await this.#present(file, model)
      if (present !== undefined) return present
      return { how: 'pulled', model: await this.#fetchAlone(key, file, model) }
    } finally {
      file.outcome?.close()
      await store.locks.releasePart(key, lock)
    }
  }

  /** The right to fetch it; or the model, when another pull has fetched it meanwhile. */
  async #lockPart(key: string, file: Wanted, model: Named): Promise<FileLock | Pulled> {
    const { store, clock } = this.#components
    for (;;) {
      const present = await this.#present(file, model)
      if (present !== undefined) return present
      const lock = await store.locks.part(key)
      if (lock !== undefined) return lock
      const record = await readPartRecord(store.partPaths(key).record)
      const doneBytes = record === undefined ? 0 : doneBytesOf(record)
      this.#init.onEvent({ event: 'waiting', doneBytes, sizeBytes: file.sizeBytes })
      await sleep(clock, WAIT_MS, this.#signal)
    }
  }

  async #fetchAlone(key: string, file: RemoteFile, model: Named): Promise<StoredModel> {
    const { store } = this.#components
    const paths = store.partPaths(key)
    const { sizeBytes, sha256, validator } = file
    const identity = { name: model.name, reference: model.reference, sizeBytes, ...optional({ sha256, validator }) }
    await store.checkName({ ...entryOf(model), ...(sha256 !== undefined && { digest: digestOf(sha256) }) })
    const { onEvent, keepFree, connections = DEFAULT_CONNECTIONS } = this.#init
    const init = {
      file,
      identity,
      paths,
      isGguf: true,
      connections,
      onRetry: this.#onRetry,
      onBegan: (resumedBytes: number) => onEvent({ event: 'began', resumedBytes, sizeBytes, isRanged: file.isRanged }),
      onProgress: (doneBytes: number) => onEvent({ event: 'progress', doneBytes, sizeBytes }),
      ...optional({ keepFree }),
    }
    const finish = async (digest: string, part: Part): Promise<StoredModel> => {
      const { quantization, isAdapter } = await this.#checkWhole(part.path, file)
      await part.close()
      const identity = await identityOf(part.path)
      const added = await store.add(
        {
          ...entryOf(model),
          digest: digestOf(digest),
          sizeBytes,
          quantization,
          ...(isAdapter && ADAPTER),
          hashed: [{ digest: digestOf(digest), identity }],
          fetchedAtMs: this.#nowMs,
          ...optional({ validator }),
        },
        moveInto(paths.data),
      )
      await Part.discard(paths)
      return added
    }
    const { clock, random } = this.#components
    return fetchPart({ clock, random, disk: this.#disk, hashing: this.#hashing }, init, finish, this.#signal)
  }

  /** @throws SkeinError MODEL_FILE_INVALID naming the source. */
  async #checkWhole(path: string, { origin, file }: RemoteFile): Promise<GgufSummary> {
    try {
      const summary = await readGguf(path)
      whole(path, summary)
      return summary
    } catch (thrown) {
      const { code, message } = asSkeinError(thrown)
      throw new SkeinError(code, message.replaceAll(path, `${origin}, ${file}`), { cause: thrown })
    }
  }

  async #import(file: LocalFile, model: Named): Promise<Pulled> {
    const { store } = this.#components
    const { onEvent, sha256: wanted = file.sha256 } = this.#init
    const { sizeBytes, path } = file
    const summary = await readGguf(path)
    whole(path, summary)
    const before = await identityOf(path)
    const promise = this.#init.sha256 === undefined ? model.reference : '--sha256'
    const onBytes = (doneBytes: number): void => onEvent({ event: 'checking', doneBytes, sizeBytes })
    const sha256 = await hashFile(path, onBytes, this.#signal)
    if (wanted !== undefined && wanted !== sha256)
      throw new SkeinError(
        'MODEL_DIGEST_MISMATCH',
        `${path} has the digest sha256:${sha256}, not the one of ${promise}`,
      )
    const { quantization, isAdapter } = summary
    const kind = isAdapter ? ADAPTER : {}
    const entry = {
      ...entryOf(model),
      digest: digestOf(sha256),
      sizeBytes,
      quantization,
      ...kind,
      fetchedAtMs: this.#nowMs,
    }
    const hashed = { ...file, sha256 }
    const key = partKey(hashed, model)
    const lock = await this.#lockPart(key, hashed, model)
    if (!('release' in lock)) return lock
    const beside = `${store.partPaths(key).data}.taken`
    try {
      const how = await this.#take(hashed, beside)
      // a file that changed since is another one, and so is what was made of it
      const isSame = isSameFile(before, await identityOf(path))
      const known = isSame ? { hashed: [{ digest: entry.digest, identity: await identityOf(beside) }] } : {}
      return { how, model: await store.add({ ...entry, ...known }, moveInto(beside)) }
    } finally {
      await rm(beside, { force: true })
      await store.locks.releasePart(key, lock)
    }
  }

  /** Puts the file at `to`, in the way that costs least. */
  async #take(file: LocalFile & { readonly sha256: string }, to: string): Promise<Taking> {
    const { copy = false, keepFree, onEvent } = this.#init
    const { path, sizeBytes, sha256 } = file
    const taken = copy ? undefined : await takeOver(path, to)
    if (taken !== undefined) return taken
    await checkSpace(this.#disk, this.#components.store.dir, sizeBytes, keepFree)
    const onBytes = (doneBytes: number): void => onEvent({ event: 'progress', doneBytes, sizeBytes })
    if ((await copyFile(path, to, onBytes, this.#signal)) !== sha256)
      throw new SkeinError('MODEL_FILE_INVALID', `${path}: it changed while it was copied`)
    return 'copied'
  }

  get #nowMs(): number {
    return this.#components.clock.wallMs()
  }
}

/** By what a file is recognized in the store. */
type Wanted = Pick<RemoteFile, 'sha256' | 'validator' | 'sizeBytes'>
interface Named {
  readonly name: string
  readonly reference: string
  readonly source: string
}

const entryOf = ({ name, source, reference }: Named): Pick<NewModel, 'name' | 'source' | 'references'> => ({
  name,
  source,
  references: [reference],
})

const digestOf = (sha256: string): ModelDigest => asModelDigest(`sha256:${sha256}`)

/** Without the fields that are `undefined`. */
const optional = <T extends object>(fields: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as never

/** One part for one content, however it was asked for; without a digest, for one reference. */
const partKey = ({ sha256 }: Wanted, { reference }: Named): string =>
  (sha256 ?? createHash('sha256').update(reference).digest('hex')).slice(0, 32)
