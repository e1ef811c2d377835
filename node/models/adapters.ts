/**
 * Models that are another one with adapters: files of low-rank changes (LoRA) to its weights. Such a pair is a model of its
 * own: it has a name, and a digest over those of its files and how much of each adapter is applied, so that two nodes go on
 * with each other's answers when they would have given the same, and never otherwise.
 */
import { stat } from 'node:fs/promises'
import { LIMITS, SkeinError, type ModelDigest } from '../../mesh/protocol/index.ts'
import { readGgufShapes, type AdapterFile, type GgufSummary, type Shape } from '../engines/index.ts'
import type { Digests } from './digests.ts'
import type { ModelFile } from './inventory.ts'
import { adaptedManifest, manifestDigest, manifestText, type PartFile } from './store/index.ts'

/** What the owner asks for. */
export interface AdaptedModel {
  /** Under which it is served. */
  readonly name: string
  /** Path of the model that is changed. */
  readonly base: string
  /** In the order in which they are applied; at least one. */
  readonly adapters: readonly AdapterFile[]
}

/** Head of a GGUF file. */
export interface GgufHead {
  readonly path: string
  readonly summary: GgufSummary
  readonly shapes: ReadonlyMap<string, Shape>
}

const SIDES = ['.lora_a', '.lora_b'] as const
/** Llama.cpp looks these up by rows, so that both sides stand the other way round. */
const LOOKED_UP = 'token_embd.weight'
/** Llama.cpp passes over them: most adapters are as good without. */
const PASSED_OVER = '_norm.weight'
/** Of what does not fit, told in one error. */
const TOLD_MAX = 3

/** The digest of a model with adapters: a function of its files' digests and of the scales, in order. */
export function adaptedDigest(
  base: ModelDigest,
  adapters: readonly { readonly digest: ModelDigest; readonly scale: number }[],
): ModelDigest {
  return manifestDigest(adaptedManifest(base, adapters))
}

/** @throws SkeinError MODEL_FILE_INVALID with the numbers when `adapter` was not made for a model of `base`'s shape. */
export function checkAdapter(base: GgufHead, adapter: GgufHead): void {
  const fail = (why: string): SkeinError => new SkeinError('MODEL_FILE_INVALID', `${adapter.path}: ${why}`)
  if (!adapter.summary.isAdapter) throw fail('a model, and no adapter')
  if (base.summary.isAdapter) throw new SkeinError('MODEL_FILE_INVALID', `${base.path}: an adapter, and no model`)
  if (base.summary.isEmbedder) throw fail(`${base.path} makes embeddings, and takes no adapter`)
  if (adapter.summary.architecture !== base.summary.architecture)
    throw fail(
      `made for the architecture ${adapter.summary.architecture}; ${base.path} is ${base.summary.architecture}`,
    )
  const wrong = [...adapter.shapes.keys()].flatMap((name) => misfit(name, base, adapter) ?? [])
  if (wrong.length === 0) return
  const more = wrong.length > TOLD_MAX ? `, and ${wrong.length - TOLD_MAX} more` : ''
  throw fail(`does not fit ${base.path}: ${wrong.slice(0, TOLD_MAX).join('; ')}${more}`)
}

/** What is wrong with the tensor `name` of an adapter. */
function misfit(name: string, base: GgufHead, adapter: GgufHead): string | undefined {
  if (name.endsWith(PASSED_OVER)) return undefined
  const side = SIDES.find((each) => name.endsWith(each))
  if (side === undefined) return `${name} is neither side of a change`
  const changed = name.slice(0, -side.length)
  const [a, b] = SIDES.map((each) => adapter.shapes.get(`${changed}${each}`))
  // once for each pair
  if (side === SIDES[1] && a !== undefined) return undefined
  if (a === undefined || b === undefined) return `${changed} has one side alone`
  const weights = base.shapes.get(changed)
  if (weights === undefined) return `${changed} is not in the model`
  const [from, rank, to] = changed === LOOKED_UP ? [b[1], a[0], a[1]] : [a[0], a[1], b[1]]
  if (rank !== b[0]) return `the sides of ${changed} have the ranks ${rank} and ${b[0]}`
  if (from === weights[0] && to === weights[1]) return undefined
  return `${changed} changes ${from} × ${to} weights, and the model has ${weights.join(' × ')}`
}

/**
 * `base`, with its adapters, as a model of its own.
 *
 * @throws SkeinError MODEL_FILE_INVALID when a file cannot be read, is no adapter, or does not fit; the signal's reason.
 */
export async function adaptedModel(
  { name, adapters }: AdaptedModel,
  base: ModelFile,
  digests: Digests,
  signal: AbortSignal,
): Promise<ModelFile> {
  if (adapters.length > LIMITS.adaptersMax)
    throw new SkeinError(
      'CONFIG_INVALID',
      `${name}: ${adapters.length} adapters, and a model has at most ${LIMITS.adaptersMax}`,
    )
  const head = { path: base.path, ...(await readGgufShapes(base.path)) }
  let sizeBytes = base.sizeBytes
  const files: PartFile[] = [{ digest: base.digest, path: base.path, sizeBytes: (await stat(base.path)).size }]
  const changes: { digest: ModelDigest; scale: number }[] = []
  for (const { path, scale } of adapters) {
    const adapter = { path, ...(await readGgufShapes(path)) }
    checkAdapter(head, adapter)
    sizeBytes += adapter.summary.sizeBytes
    const { digest } = await digests.of(path, signal)
    changes.push({ digest, scale })
    files.push({ digest, path, sizeBytes: (await stat(path)).size })
  }
  const manifest = adaptedManifest(base.digest, changes)
  const parts = { text: manifestText(manifest), files }
  return { ...base, digest: manifestDigest(manifest), aliases: [name], sizeBytes, adapters, parts }
}
