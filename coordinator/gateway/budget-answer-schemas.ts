/** Answers about the budget, as `/openapi.json` tells them. */
import { Type } from 'typebox'
import { AT_LIMIT } from '../admission/index.ts'
import { jsonAnswer, type RouteDoc } from './route-doc.ts'

const micros = () => Type.Integer({ minimum: 0 })
const ms = () => Type.Number({ minimum: 0 })
const choice = {
  localModel: Type.Optional(Type.String()),
}

export const LimitStateSchema = Type.Object(
  {
    period: Type.Enum(['day', 'month']),
    tenant: Type.Optional(Type.String()),
    from: Type.String(),
    turnsAtMs: ms(),
    limitMicros: Type.Optional(micros()),
    spentMicros: micros(),
    reservedMicros: micros(),
    leftMicros: Type.Optional(micros()),
    overMicros: Type.Optional(micros()),
  },
  { title: 'BudgetLimit' },
)

const BudgetSchema = Type.Object(
  {
    object: Type.Literal('budget'),
    atLimit: Type.Enum([...AT_LIMIT]),
    ...choice,
    periods: Type.Array(LimitStateSchema),
    tenants: Type.Array(
      Type.Object({
        tenant: Type.String(),
        name: Type.Optional(Type.String()),
        atLimit: Type.Optional(Type.Enum([...AT_LIMIT])),
        ...choice,
        periods: Type.Array(LimitStateSchema),
      }),
    ),
    leases: Type.Array(Type.Object({ leaseId: Type.String(), reservedMicros: micros() })),
    changes: Type.Array(
      Type.Object({
        atMs: ms(),
        by: Type.String(),
        tenant: Type.Optional(Type.String()),
        terms: Type.Object({
          dayMicros: Type.Optional(micros()),
          monthMicros: Type.Optional(micros()),
          atLimit: Type.Optional(Type.Enum([...AT_LIMIT])),
          ...choice,
        }),
      }),
    ),
  },
  { title: 'Budget' },
)

export const BUDGET_DOC: RouteDoc = {
  tag: 'Access',
  summary: 'Tells what may be spent, what was, and who has set it',
  answers: { 200: jsonAnswer('The budget.', BudgetSchema) },
}

export const BUDGET_SET_DOC: RouteDoc = {
  tag: 'Access',
  summary: 'Sets limits of money, and what happens at them',
  answers: { 200: jsonAnswer('The budget as it is now.', BudgetSchema) },
  errors: ['LEDGER_UNAVAILABLE'],
}
