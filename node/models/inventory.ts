/**
 * Models given by path: which files they are, their digests, and what their headers say. A file that cannot be used is a
 * problem to be reported, never a reason to stop: the others go on.
 */
import { readdir, stat } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type EngineKind,
  type ModelDigest,
  type ModelFeature,
  type SamplingDefaults,
  type SamplingOption,
  type Thinking,
} from '../../mesh/protocol/index.ts'
import type { Logger } from '../../mesh/runtime/index.ts'
import {
  describeOnnx,
  echoDigest,
  echoFeatures,
  isEchoPath,
  parseEchoPath,
  readGguf,
  readsClock,
  thinkingOf,
  type AdapterFile,
  type GgufSummary,
  type OnnxModel,
} from '../engines/index.ts'
import { adaptedModel, type AdaptedModel } from './adapters.ts'
import type { Digests } from './digests.ts'
import {
  isGraph,
  isOnnxPath,
  manifestDigest,
  manifestText,
  nameOfGraph,
  onnxManifest,
  readManifest,
  type ModelParts,
} from './store/index.ts'

const EXTENSION = /\.(?:gguf|onnx)$/i
/** The folder that some exporters put graphs into, below the tokenizer. */
const GRAPHS = 'onnx'
const GRAPH_IN_FOLDER = 'model.onnx'
const ALIAS_LENGTH_MAX = 128

/** What is known of a model before an engine has loaded it. */
export interface ModelFile {
  readonly engine: EngineKind
  /** Absolute path; the whole `echo:` label for the echo engine. */
  readonly path: string
  readonly digest: ModelDigest
  /** The first is shown; at least one. */
  readonly aliases: readonly string[]
  readonly sizeBytes: number
  readonly contextTokens: number
  readonly parameters: number
  readonly quantization: string
  readonly hasChatTemplate: boolean
  readonly sampling: SamplingDefaults
  /** What changes its weights: a model of its own, which is no file. */
  readonly adapters?: readonly AdapterFile[]
  /** The files of a model that is not one GGUF file. */
  readonly parts?: ModelParts
  /** Of a model whose chat template shows thoughts. */
  readonly thinking?: Thinking
  /** Whether its chat template reads the clock; not known when absent. */
  readonly readsClock?: boolean
  /** What its head promises, as `LoadedModel` has it; what engines of its kind mostly do, when absent. */
  readonly features?: readonly ModelFeature[]
  /** Options of sampling that it honours; those of its engine, when absent. */
  readonly options?: readonly SamplingOption[]
  readonly isGenerator?: boolean
  /** A server of its own loads it when it is asked: it is not asked without need. */
  readonly isOnDemand?: boolean
  /** It waits on the disk until somebody asks, however much memory is free. */
  readonly restsAtFirst?: boolean
}

export interface ModelProblem {
  /** As the owner gave it, or the file found under it. */
  readonly path: string
  readonly error: SkeinError
}

export interface InventoryComponents {
  readonly digests: Digests
  readonly log: Logger
}

export class Inventory {
  readonly #components: InventoryComponents
  readonly #problems = new Map<string, ModelProblem>()
  readonly #seen = new Set<ModelDigest>()

  constructor(components: InventoryComponents) {
    this.#components = components
  }

  problems(): ModelProblem[] {
    return [...this.#problems.values()]
  }

  /** Also for what the engine found out later about a file. */
  report(path: string, error: SkeinError): void {
    this.#problems.set(path, { path, error })
    this.#components.log.error({ path, code: error.code }, error.message)
  }

  /**
   * Models of `specs` (files, directories of `.gguf` and `.onnx`, `echo:` labels), each as soon as its digest is known, small files
   * before large ones. Files of equal content are one model. Ends early when `signal` aborts.
   */
  async *scan(specs: readonly string[], signal: AbortSignal): AsyncGenerator<ModelFile, void, undefined> {
    const files: { path: string; sizeBytes: number }[] = []
    for (const spec of specs) {
      if (isEchoPath(spec)) yield* this.#echo(spec)
      else files.push(...(await this.#expand(resolve(spec))))
    }
    files.sort((a, b) => a.sizeBytes - b.sizeBytes)
    for (const { path } of files) {
      if (signal.aborted) return
      if (this.#seen.size >= LIMITS.modelsPerNodeMax) {
        this.report(path, new SkeinError('CONFIG_INVALID', `${path}: a node has at most ${this.#seen.size} models`))
        return
      }
      const model = await this.#inspect(path, signal)
      if (model !== undefined && this.#isNew(model)) yield model
    }
  }

  /** Models with their adapters. Ends early when `signal` aborts. */
  async *adapted(models: readonly AdaptedModel[], signal: AbortSignal): AsyncGenerator<ModelFile, void, undefined> {
    for (const model of models) {
      if (signal.aborted) return
      try {
        const found = await this.#inspectAdapted(model, signal)
        if (this.#isNew(found)) yield found
      } catch (thrown) {
        if (!signal.aborted) this.report(model.name, asSkeinError(thrown, 'MODEL_FILE_INVALID'))
      }
    }
  }

  /** Its file is gone; should it come again, it is found again. */
  forget(digest: ModelDigest): void {
    this.#seen.delete(digest)
  }

  /** The model of an echo label, unless it is malformed. */
  #echo(label: string): ModelFile[] {
    try {
      return [echoModel(label)].filter((model) => this.#isNew(model))
    } catch (thrown) {
      this.report(label, asSkeinError(thrown, 'MODEL_FILE_INVALID'))
      return []
    }
  }

  #isNew({ digest }: ModelFile): boolean {
    const isNew = !this.#seen.has(digest)
    this.#seen.add(digest)
    return isNew
  }

  async #expand(path: string): Promise<{ path: string; sizeBytes: number }[]> {
    try {
      const found = await stat(path)
      if (found.isFile()) return [{ path, sizeBytes: found.size }]
      if (!found.isDirectory())
        throw new SkeinError('MODEL_FILE_INVALID', `${path}: neither a file nor a directory of models`)
      const adapted = await adaptedFolder(path)
      if (adapted !== undefined) return [{ path, sizeBytes: (await stat(adapted.base)).size }]
      const names = await modelsOf(path)
      if (names.length === 0)
        throw new SkeinError('MODEL_FILE_INVALID', `${path}: no .gguf or .onnx file in this directory`)
      return await Promise.all(
        names.map(async (name) => ({ path: join(path, name), sizeBytes: (await stat(join(path, name))).size })),
      )
    } catch (thrown) {
      const error = asSkeinError(thrown)
      const missing = (thrown as NodeJS.ErrnoException).code === 'ENOENT' ? 'there is no such file' : error.message
      this.report(
        path,
        error.code === 'MODEL_FILE_INVALID'
          ? error
          : new SkeinError('MODEL_FILE_INVALID', `${path}: ${missing}`, { cause: thrown }),
      )
      return []
    }
  }

  async #inspect(path: string, signal: AbortSignal): Promise<ModelFile | undefined> {
    try {
      // The head first: what is no model is told at once, not after gigabytes were hashed.
      if (isOnnxPath(path)) return await this.#inspectOnnx(path, signal)
      const adapted = await adaptedFolder(path)
      return await (adapted === undefined ? this.#inspectGguf(path, signal) : this.#inspectAdapted(adapted, signal))
    } catch (thrown) {
      if (!signal.aborted) this.report(path, asSkeinError(thrown, 'MODEL_FILE_INVALID'))
      return undefined
    }
  }

  async #inspectGguf(path: string, signal: AbortSignal): Promise<ModelFile> {
    const summary = await readGguf(path)
    if (summary.splitFiles > 1)
      throw new SkeinError('MODEL_FILE_INVALID', `${path}: one part of a split model; merge it with llama-gguf-split`)
    if (summary.isAdapter)
      throw new SkeinError(
        'MODEL_FILE_INVALID',
        `${path}: an adapter, which is served with the model that it changes: --adapter NAME=MODEL,${path}`,
      )
    const { digest } = await this.#components.digests.of(path, signal)
    return ggufModel(path, summary, digest)
  }

  async #inspectAdapted(model: AdaptedModel, signal: AbortSignal): Promise<ModelFile> {
    const base = await this.#inspectGguf(resolve(model.base), signal)
    const adapters = model.adapters.map(({ path, scale }) => ({ path: resolve(path), scale }))
    return adaptedModel({ ...model, adapters }, base, this.#components.digests, signal)
  }

  async #inspectOnnx(path: string, signal: AbortSignal): Promise<ModelFile> {
    const model = await describeOnnx(path)
    const { digests } = this.#components
    const files: { role: string; digest: ModelDigest; path: string; sizeBytes: number }[] = []
    for (const part of [{ role: 'model', path }, ...model.companions]) {
      const { digest } = await digests.of(part.path, signal)
      files.push({ ...part, digest, sizeBytes: (await stat(part.path)).size })
    }
    const manifest = onnxManifest(files)
    const parts = { text: manifestText(manifest), files: files.map(({ role: _role, ...file }) => file) }
    return { ...onnxModel(model, manifestDigest(manifest)), parts }
  }
}

/** The model with adapters that a folder of the store is; `undefined` when `path` is something else. */
async function adaptedFolder(path: string): Promise<AdaptedModel | undefined> {
  const manifest = await readManifest(path)
  if (manifest?.form !== 'adapted') return undefined
  const [base, ...adapters] = manifest.files.map(({ name, scale = 1 }) => ({ path: join(path, name), scale }))
  return { name: basename(path), base: base!.path, adapters }
}

/** Files in the folder `path` that are models, by their names from there; in a folder of one exported model, its graph. */
async function modelsOf(path: string): Promise<string[]> {
  const names = (await readdir(path)).sort()
  const models = names.filter((name) => EXTENSION.test(name))
  // one network in several precisions is one model
  if (models.length > 1 && models.includes(GRAPH_IN_FOLDER) && models.every((name) => isGraph(name)))
    return [GRAPH_IN_FOLDER]
  if (models.length > 0 || !names.includes(GRAPHS)) return models
  const graph = join(GRAPHS, GRAPH_IN_FOLDER)
  return (await stat(join(path, graph)).catch(() => undefined))?.isFile() === true ? [graph] : []
}

function onnxModel({ path, summary, features, text }: OnnxModel, digest: ModelDigest): ModelFile {
  const aliases = [
    ...new Set([summary.metadata.get('name') ?? '', nameOfGraph(path)].map(alias).filter((each) => each !== '')),
  ]
  return {
    engine: 'onnx',
    path,
    digest,
    aliases: aliases.length > 0 ? aliases : [digest],
    sizeBytes: summary.sizeBytes,
    contextTokens: text?.tokensMax ?? 0,
    parameters: summary.parameters,
    quantization: summary.quantization,
    hasChatTemplate: false,
    sampling: {},
    features,
    isGenerator: false,
  }
}

function ggufModel(path: string, summary: GgufSummary, digest: ModelDigest): ModelFile {
  const { sizeBytes, parameters, quantization, trainContextTokens, chatTemplate, sampling, name = '' } = summary
  const names = [basename(path).replace(EXTENSION, ''), name]
  const thinking = chatTemplate === undefined ? undefined : thinkingOf(chatTemplate)
  const aliases = [...new Set(names.map(alias).filter((text) => text !== ''))]
  return {
    engine: 'llama',
    path,
    digest,
    aliases: aliases.length > 0 ? aliases : [digest],
    sizeBytes,
    contextTokens: trainContextTokens,
    parameters,
    quantization,
    hasChatTemplate: chatTemplate !== undefined,
    sampling,
    ...(thinking && { thinking }),
    readsClock: chatTemplate !== undefined && readsClock(chatTemplate),
    ...(summary.isEmbedder && { features: ['embed'] as const, isGenerator: false }),
  }
}

/** `echo:NAME?OPTIONS`. Labels are their own content: two nodes with one label have one model. */
function echoModel(label: string): ModelFile {
  const options = parseEchoPath(label)
  const name = alias(label.slice(label.indexOf(':') + 1).split('?')[0] ?? '')
  return {
    engine: 'echo',
    path: label,
    digest: echoDigest(label),
    aliases: [name === '' ? 'echo' : name],
    sizeBytes: 0,
    contextTokens: options.contextTokens,
    parameters: 0,
    quantization: 'none',
    hasChatTemplate: true,
    sampling: {},
    ...(options.thinking && { thinking: options.thinking }),
    readsClock: false,
    features: echoFeatures(options),
    isGenerator: !options.isMute,
    ...(options.restsAtFirst && { restsAtFirst: true }),
  }
}

/** A name from a file: no control characters, which would reach terminals and headers. */
const alias = (text: string): string =>
  text
    .replaceAll(/[^\x20-\x7e]/g, '')
    .trim()
    .slice(0, ALIAS_LENGTH_MAX)
