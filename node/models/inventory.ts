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
  type SamplingDefaults,
} from '../../mesh/protocol/index.ts'
import type { Logger } from '../../mesh/runtime/index.ts'
import { echoDigest, isEchoPath, parseEchoPath, readGguf, type GgufSummary } from '../engines/index.ts'
import type { Digests } from './digests.ts'

const EXTENSION = /\.gguf$/i
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
   * Models of `specs` (files, directories of `.gguf`, `echo:` labels), each as soon as its digest is known, small files
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
        throw new SkeinError('MODEL_FILE_INVALID', `${path}: neither a file nor a directory of .gguf files`)
      const names = (await readdir(path)).filter((name) => EXTENSION.test(name)).sort()
      if (names.length === 0) throw new SkeinError('MODEL_FILE_INVALID', `${path}: no .gguf file in this directory`)
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
      const summary = await readGguf(path)
      if (summary.splitFiles > 1)
        throw new SkeinError('MODEL_FILE_INVALID', `${path}: one part of a split model; merge it with llama-gguf-split`)
      const { digest } = await this.#components.digests.of(path, signal)
      return ggufModel(path, summary, digest)
    } catch (thrown) {
      if (!signal.aborted) this.report(path, asSkeinError(thrown, 'MODEL_FILE_INVALID'))
      return undefined
    }
  }
}

function ggufModel(path: string, summary: GgufSummary, digest: ModelDigest): ModelFile {
  const { sizeBytes, parameters, quantization, trainContextTokens, chatTemplate, sampling, name = '' } = summary
  const names = [basename(path).replace(EXTENSION, ''), name]
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
  }
}

/** `echo:NAME?OPTIONS`. Labels are their own content: two nodes with one label have one model. */
function echoModel(label: string): ModelFile {
  const { contextTokens } = parseEchoPath(label)
  const name = alias(label.slice(label.indexOf(':') + 1).split('?')[0] ?? '')
  return {
    engine: 'echo',
    path: label,
    digest: echoDigest(label),
    aliases: [name === '' ? 'echo' : name],
    sizeBytes: 0,
    contextTokens,
    parameters: 0,
    quantization: 'none',
    hasChatTemplate: true,
    sampling: {},
  }
}

/** A name from a file: no control characters, which would reach terminals and headers. */
const alias = (text: string): string =>
  text
    .replaceAll(/[^\x20-\x7e]/g, '')
    .trim()
    .slice(0, ALIAS_LENGTH_MAX)
