/** Models by the names that clients have for them. */
import { SkeinError } from '../../mesh/protocol/index.ts'
import { readingsOf, type ModelView } from '../admission/index.ts'

/** Each model with the id by which it is listed: its first alias, or its digest when another model has that alias too. */
export function identified(models: readonly ModelView[]): Map<string, ModelView> {
  const byId = new Map<string, ModelView>()
  for (const model of models) {
    const alias = model.aliases[0]
    byId.set(alias === undefined || byId.has(alias) ? model.digest : alias, model)
  }
  return byId
}

/**
 * The model that is listed as `name`, or has it as an alias or its digest.
 *
 * @throws SkeinError MODEL_NOT_FOUND.
 */
export function modelNamed(models: readonly ModelView[], name: string): ModelView {
  const listed = [...identified(models)]
  for (const reading of readingsOf(name)) {
    const found = listed.find(
      ([id, { aliases, digest }]) => id === reading || aliases.includes(reading) || digest === reading,
    )
    if (found) return found[1]
  }
  throw new SkeinError('MODEL_NOT_FOUND', `no node of the mesh has the model '${name.slice(0, 256)}'`, {
    param: 'model',
  })
}
