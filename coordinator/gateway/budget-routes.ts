/** The mesh API on money: what may be spent and what was, for the admin. */
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { SkeinError } from '../../mesh/protocol/index.ts'
import type { Access } from '../access/index.ts'
import { AT_LIMIT, type BudgetChange, type BudgetView, type MeshService } from '../admission/index.ts'
import { BUDGET_DOC, BUDGET_SET_DOC } from './budget-answer-schemas.ts'

/** A thousand million of the currency: sums of such amounts are whole numbers still. */
const MICROS_MAX = 1e15

/** Takes away what was set; `null` in a body is as good as absent. */
const NONE = 'none'

const limit = () => Type.Optional(Type.Union([Type.Integer({ minimum: 0, maximum: MICROS_MAX }), Type.Literal(NONE)]))

/** A member that is misspelt must not be ignored: `month` would leave a month without a limit. */
const BudgetBodySchema = Type.Object(
  {
    key: Type.Optional(Type.String({ minLength: 1, maxLength: 512 })),
    day_micros: limit(),
    month_micros: limit(),
    at_limit: Type.Optional(Type.Enum([...AT_LIMIT, NONE])),
    local_model: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
  },
  { additionalProperties: false, minProperties: 1 },
)
type BudgetBody = Static<typeof BudgetBodySchema>

/** As the API tells it: with what people call the keys. */
export interface NamedBudget extends Omit<BudgetView, 'tenants'> {
  readonly object: 'budget'
  readonly tenants: readonly (BudgetView['tenants'][number] & { readonly name?: string })[]
}

export interface BudgetRoutesComponents {
  readonly service: MeshService
  readonly access: Access
}

export function budgetRoutes(app: FastifyInstance, { service, access }: BudgetRoutesComponents): void {
  const named = ({ tenants, ...view }: BudgetView): NamedBudget => {
    const names = new Map(access.keys().map(({ id, name }) => [id, name]))
    const withName = tenants.map((each) => {
      const name = names.get(each.tenant)
      return { ...each, ...(name !== undefined && { name }) }
    })
    return { object: 'budget', ...view, tenants: withName }
  }

  app.get('/mesh/v1/budget', { config: { doc: BUDGET_DOC } }, () => named(service.budget()))

  app.put<{ Body: BudgetBody }>(
    '/mesh/v1/budget',
    { schema: { body: BudgetBodySchema }, config: { doc: BUDGET_SET_DOC } },
    async ({ body, caller }) => named(await service.setBudget(changeOf(body, access), caller.tenant)),
  )
}

const orNull = <T>(value: T | typeof NONE): T | null => (value === NONE ? null : (value as T))

/** @throws SkeinError NOT_FOUND for a key that is not there; INVALID_REQUEST for a body that changes nothing. */
function changeOf(body: BudgetBody, access: Access): BudgetChange {
  const { key, day_micros: dayMicros, month_micros: monthMicros, at_limit: atLimit, local_model: localModel } = body
  const change = {
    ...(dayMicros !== undefined && { dayMicros: orNull(dayMicros) }),
    ...(monthMicros !== undefined && { monthMicros: orNull(monthMicros) }),
    ...(atLimit !== undefined && { atLimit: orNull(atLimit) }),
    ...(localModel !== undefined && { localModel }),
  }
  if (Object.keys(change).length === 0)
    throw new SkeinError('INVALID_REQUEST', 'a limit, or what happens at it, must be named', { param: 'day_micros' })
  if (key === undefined) return change
  // a budget of nobody would hold nobody
  const tenant = access.tenantNamed(key)
  if (tenant === undefined)
    throw new SkeinError('NOT_FOUND', `there is no key '${key.slice(0, 100)}'; see: skein keys list`, { param: 'key' })
  return { tenant, ...change }
}
