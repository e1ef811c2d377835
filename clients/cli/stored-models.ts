/**
 * Which models a node serves: what `--model` names, pulled where need be; else all that the store has, or the bundled chat
 * model when that is nothing, and beside it the bundled ones that make no text.
 */
import { resolve } from 'node:path'
import { SkeinError, type ErrorCode, type ModelDigest, type Role } from '../../mesh/protocol/index.ts'
import { SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import type { ModelStore } from '../../node/models/store/index.ts'
import type { AdapterChoice } from './adapter-options.ts'
import type { Output } from './output.ts'
import { pullModel } from './pulling.ts'
import type { ServeOptions } from './serve-options.ts'

export interface ServedModels {
  /** For the node: files, folders, `echo:` labels. */
  readonly paths: readonly string[]
  /** There is nothing but the model that comes with Skein. */
  readonly isBundled: boolean
  /** The adapters of the options, with paths in place of names and references. */
  readonly adapted: readonly AdapterChoice[]
  /** To be called when the node has stopped: the store may be emptied again. */
  release(): void
}

interface Starting {
  readonly options: ServeOptions
  readonly output: Output
  /** What this machine is to be in the mesh, if it joins one to get its model. */
  readonly roles: readonly Role[]
}

/** With less memory left than this no model is served that nobody has asked for. */
const UNASKED_MEMORY_BYTES_MIN = 1024 ** 3

/** @throws SkeinError MODEL_NOT_STORED under `--offline`; what pulling throws. */
export async function findModels(options: ServeOptions, output: Output, roles: readonly Role[]): Promise<ServedModels> {
  const dataDir = resolve(options.data)
  const { BUNDLED_CHAT_MODEL, BUNDLED_ONNX_MODELS, defaultModels, ModelStore } =
    await import('../../node/models/store/index.ts')
  const clock = new SystemClock(true)
  const store = new ModelStore({ clock, random: new SystemRandom() }, dataDir)
  const paths: string[] = []
  if (options.model.length === 0) paths.push(...(await defaultModels(dataDir)))
  const isBundled = options.model.length === 0 && options.adapter === undefined && paths.length === 0
  if (isBundled) paths.push(BUNDLED_CHAT_MODEL)
  const isRoomy = process.availableMemory() >= UNASKED_MEMORY_BYTES_MIN
  if (options.model.length === 0 && isRoomy) paths.push(...BUNDLED_ONNX_MODELS)
  const find = (spec: string): Promise<string> => pathOf(spec, store, { options, output, roles })
  for (const spec of options.model) paths.push(await find(spec))
  const adapted: AdapterChoice[] = []
  for (const { name, base, adapters } of options.adapter ?? []) {
    const files: { file: string; scale: number }[] = []
    for (const { file, scale } of adapters) files.push({ file: await find(file), scale })
    adapted.push({ name, base: await find(base), adapters: files })
  }
  const used = [...paths, ...adapted.flatMap(({ base, adapters }) => [base, ...adapters.map(({ file }) => file)])]
  const served = (await store.list()).filter((model) => used.includes(model.path)).map((model) => model.digest)
  const release = served.length > 0 ? await markServed(store, served, clock.wallMs()) : (): void => {}
  return { paths, adapted, isBundled, release }
}

/** What a node is told for `spec`. A path that is there goes before a model of the store with that name. */
async function pathOf(spec: string, store: ModelStore, { options, output, roles }: Starting): Promise<string> {
  const { BUNDLED_MODELS, isDigest, isModelName, isPath, isReference, notStored, parseReference } =
    await import('../../node/models/store/index.ts')
  if (spec.startsWith('echo:') || (await isPath(spec))) return spec
  const isName = !isReference(spec)
  const known = await store.find(isName ? spec : parseReference(spec).text)
  if (known?.isPresent === true) return known.path
  const bundled = BUNDLED_MODELS.get(spec)
  if (bundled !== undefined) return bundled
  // told by the node as what it is: a file that is not there
  if (isName && !isModelName(spec) && !isDigest(spec)) return spec
  if (options.offline === true && isName) return spec
  if (options.offline === true) throw notStored(spec, await store.list())
  const { keepFree, join, name, mdns, bootstrap } = options
  const mesh = { name, roles, mdns, bootstrap, ...(join !== undefined && { join }) }
  const init = { dataDir: resolve(options.data), reference: spec, output, command: `skein pull ${spec}`, mesh }
  try {
    return (await pullModel({ ...init, ...(keepFree !== undefined && { keepFree }) })).model.path
  } catch (thrown) {
    const isNowhere = thrown instanceof SkeinError && ABSENT.includes(thrown.code)
    if (isName && isNowhere) return spec
    throw thrown
  }
}

/** Of a name: no member has it, and no file is called so. */
const ABSENT: readonly ErrorCode[] = ['MODEL_NOT_STORED', 'MODEL_FILE_INVALID']

/** Keeps what is served from being removed, and remembers when. */
async function markServed(store: ModelStore, digests: readonly ModelDigest[], atMs: number): Promise<() => void> {
  try {
    const lock = await store.locks.serve(digests)
    // Another node serves from this data directory: starting a second one will fail, and say so better.
    if (lock === undefined) return () => {}
    await store.touch(digests, atMs)
    return () => lock.release()
  } catch (thrown) {
    // A store that cannot be written can be served from: a read-only disk, a full one.
    if (thrown instanceof SkeinError) return () => {}
    throw thrown
  }
}
