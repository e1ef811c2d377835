/**
 * Values of labels, bounded in number: each makes a series of its own, here and in every database that keeps them. A label
 * never tells of a tenant, a task or a text.
 */
import type { ModelDigest } from '../../mesh/protocol/index.ts'
import type { ModelView } from '../admission/index.ts'

/** Stands for all that came when there were enough. */
export const OTHER = 'other'

/** Models that have series of their own, since the start. */
export const MODELS_MAX = 64
/** Nodes that have series of their own in one reading. */
export const NODES_MAX = 100
/** Pairs of a node and a model that have series of their own in one reading. */
export const PAIRS_MAX = 512

/** The name of a model: that of its nodes, whatever clients call it. The first `MODELS_MAX` that are asked for have one. */
export class ModelLabels {
  readonly #names = new Map<ModelDigest, string>()
  readonly #models: () => readonly ModelView[]

  /** @param models looked through once for each model that is new. */
  constructor(models: () => readonly ModelView[]) {
    this.#models = models
  }

  of(digest: ModelDigest): string {
    const known = this.#names.get(digest)
    if (known !== undefined) return known
    if (this.#names.size >= MODELS_MAX) return OTHER
    const view = this.#models().find((model) => model.digest === digest)
    const name = view?.aliases[0] ?? digest
    this.#names.set(digest, name)
    return name
  }
}

/** `entries` with their names, those behind the first `max` names under `OTHER`. */
export function bounded<T>(entries: readonly T[], nameOf: (entry: T) => string, max: number): [string, T][] {
  const names = [...new Set(entries.map(nameOf))].sort()
  const own = new Set(names.slice(0, max))
  return entries.map((entry) => {
    const name = nameOf(entry)
    return [own.has(name) ? name : OTHER, entry]
  })
}
