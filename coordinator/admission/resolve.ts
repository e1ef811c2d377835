/** From the name that a client wrote to the one model that it means, among those that can do what is asked. */
import { SkeinError, type ModelDigest, type WorkKind } from '../../mesh/protocol/index.ts'
import type { Directory } from '../directory/index.ts'
import type { ModelView } from './service.ts'

/** Models that are named in a refusal. */
const NAMED_MAX = 5

/** What a model is told to do, and where. */
const DEEDS: Readonly<Record<WorkKind, string>> = {
  embed: 'makes embeddings (POST /v1/embeddings)',
  classify: 'classifies texts (POST /mesh/v1/classify)',
  infer: 'takes tensors (POST /mesh/v1/infer)',
}
const LACKS: Readonly<Record<WorkKind | 'completion', string>> = {
  completion: 'generates no text',
  embed: 'makes no embeddings',
  classify: 'classifies no texts',
  infer: 'takes no tensors',
}

/** Of Ollama's names: the one that stands for none. */
const LATEST = ':latest'

/** What `name` may stand for, the likeliest first: tools write Ollama's usual tag behind names without one, or leave it out. */
export const readingsOf = (name: string): readonly string[] =>
  name.endsWith(LATEST) ? [name, name.slice(0, -LATEST.length)] : [name, name + LATEST]

/**
 * Of several models with one name the first that can do it, those of most nodes first.
 *
 * @param models of the mesh, asked for the message alone.
 * @throws SkeinError MODEL_NOT_FOUND naming what there is, NO_NODE; INVALID_REQUEST when it cannot do what is asked, naming
 *   what it does and which models can.
 */
export function resolveModel(
  directory: Directory,
  models: () => readonly ModelView[],
  name: string,
  ability: WorkKind | 'completion',
): ModelDigest {
  const digests =
    readingsOf(name)
      .map((each) => directory.resolve(each))
      .find(({ length }) => length > 0) ?? []
  const able = digests.find((digest) => directory.mayDo(digest, ability))
  if (able !== undefined) return able
  const all = models()
  if (digests[0] === undefined) throw unknown(all, name, ability)
  const view = all.find(({ digest }) => digest === digests[0])
  const deeds = (Object.keys(DEEDS) as WorkKind[]).filter((kind) => view?.features.includes(kind))
  const does = deeds.length === 0 ? '' : `; it ${deeds.map((kind) => DEEDS[kind]).join(' and ')}`
  const others = named(all.filter(({ features }) => features.includes(ability)))
  const who = others === '' ? 'no model of the mesh does' : `these do: ${others}`
  throw new SkeinError('INVALID_REQUEST', `the model '${name}' ${LACKS[ability]}${does}; ${who}`, { param: 'model' })
}

function unknown(models: readonly ModelView[], name: string, ability: WorkKind | 'completion'): SkeinError {
  const able = models.filter(({ features }) => features.includes(ability))
  // whoever wants text is not helped by models that make none
  if (models.length === 0 || (able.length === 0 && ability === 'completion'))
    return new SkeinError(
      'NO_NODE',
      `no node of the mesh has a model ${models.length === 0 ? 'yet' : 'that answers yet'}; start one with: skein up --model PATH`,
      { retryAfterSeconds: 2 },
    )
  const names = named(able.length > 0 ? able : models)
  return new SkeinError('MODEL_NOT_FOUND', `no node of the mesh has the model '${name}'; there are: ${names}`, {
    param: 'model',
  })
}

function named(models: readonly ModelView[]): string {
  const names = models.flatMap((view) => view.aliases.slice(0, 1))
  return names.slice(0, NAMED_MAX).join(', ') + (names.length > NAMED_MAX ? ', …' : '')
}
