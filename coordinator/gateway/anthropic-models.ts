/** Models as Anthropic's clients list them. What the mesh does not know of a model is null, as that API has it. */
import { Type, type Static } from 'typebox'
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { ModelView } from '../admission/index.ts'
import { identified } from './named-models.ts'

/** What that API says where a date is not known. */
const UNKNOWN_DATE = '1970-01-01T00:00:00Z'
const PAGE = 20
const PAGE_MAX = 1000

const nothing = () => Type.Null()

export const AnthropicModelSchema = Type.Object(
  {
    type: Type.Literal('model'),
    id: Type.String(),
    display_name: Type.String(),
    created_at: Type.String(),
    lifecycle: Type.Literal('active'),
    max_input_tokens: Type.Integer({ minimum: 0 }),
    max_tokens: Type.Integer({ minimum: 0 }),
    capabilities: nothing(),
    line: nothing(),
    deprecated_at: nothing(),
    retires_at: nothing(),
  },
  { title: 'AnthropicModel' },
)

export const AnthropicModelsSchema = Type.Object(
  {
    data: Type.Array(AnthropicModelSchema),
    has_more: Type.Boolean(),
    first_id: Type.Union([Type.String(), Type.Null()]),
    last_id: Type.Union([Type.String(), Type.Null()]),
  },
  { title: 'AnthropicModels' },
)

export const anthropicModel = (id: string, { contextTokens }: ModelView): Static<typeof AnthropicModelSchema> => ({
  type: 'model',
  id,
  display_name: id,
  created_at: UNKNOWN_DATE,
  lifecycle: 'active',
  max_input_tokens: contextTokens,
  max_tokens: contextTokens,
  ...{ capabilities: null, line: null, deprecated_at: null, retires_at: null },
})

const ofAnthropics = (what: string) =>
  Type.Optional(Type.String({ description: `With \`anthropic-version\` alone: ${what}.` }))

/** What a client asks of the list; in OpenAI's form nothing can be. */
export const PageQuerySchema = Type.Object({
  limit: ofAnthropics(`how many models, 1 to ${PAGE_MAX}; ${PAGE} when absent`),
  after_id: ofAnthropics('those behind this model'),
  before_id: ofAnthropics('those before this model'),
})
export type PageQuery = Static<typeof PageQuerySchema>

/**
 * One page of those of `models` that answer.
 *
 * @throws SkeinError INVALID_REQUEST.
 */
export function anthropicModels(models: readonly ModelView[], query: PageQuery): Static<typeof AnthropicModelsSchema> {
  const all = [...identified(models)].filter(([, { features }]) => features.includes('completion'))
  const ids = all.map(([id]) => id)
  const { after_id: afterId, before_id: beforeId } = query
  const limit = limitOf(query.limit)
  const end = beforeId === undefined ? all.length : placeOf(ids, beforeId, 'before_id')
  const start =
    afterId === undefined
      ? beforeId === undefined
        ? 0
        : Math.max(0, end - limit)
      : placeOf(ids, afterId, 'after_id') + 1
  const page = all.slice(start, Math.min(end, start + limit))
  return {
    data: page.map(([id, model]) => anthropicModel(id, model)),
    has_more: beforeId === undefined ? start + page.length < end : start > 0,
    first_id: page[0]?.[0] ?? null,
    last_id: page.at(-1)?.[0] ?? null,
  }
}

function limitOf(text: string | undefined): number {
  if (text === undefined) return PAGE
  const limit = /^\d{1,4}$/.test(text) ? Number(text) : 0
  if (limit >= 1 && limit <= PAGE_MAX) return limit
  throw new SkeinError('INVALID_REQUEST', `limit must be 1 to ${PAGE_MAX}`, { param: 'limit' })
}

function placeOf(ids: readonly string[], id: string, param: string): number {
  const place = ids.indexOf(id)
  if (place < 0) throw new SkeinError('INVALID_REQUEST', `${param} is no model of this list`, { param })
  return place
}
