/** Answers about machines that were launched, as `/openapi.json` tells them. */
import { Type } from 'typebox'
import { jsonAnswer, type RouteDoc } from './route-doc.ts'

export const LEASE_PHASES = ['pending', 'ready', 'leaving', 'ended'] as const

const ms = () => Type.Number({ minimum: 0 })
const micros = () => Type.Integer({ minimum: 0 })

const LeaseSchema = Type.Object(
  {
    id: Type.String(),
    pool: Type.String(),
    provider: Type.String(),
    flavour: Type.String(),
    name: Type.String(),
    phase: Type.Enum([...LEASE_PHASES]),
    why: Type.String(),
    orderedAtMs: ms(),
    machineId: Type.Optional(Type.String()),
    peerId: Type.Optional(Type.String()),
    readyAtMs: Type.Optional(ms()),
    releasedAtMs: Type.Optional(ms()),
    releasedWhy: Type.Optional(Type.String()),
    endedAtMs: Type.Optional(ms()),
    microsPerHour: micros(),
    isSpot: Type.Boolean(),
    paidMicros: micros(),
    costMicros: Type.Optional(micros()),
    running: Type.Optional(Type.Integer({ minimum: 0 })),
    slots: Type.Optional(Type.Integer({ minimum: 0 })),
    trouble: Type.Optional(Type.String()),
  },
  { title: 'Lease' },
)

export const LEASES_DOC: RouteDoc = {
  tag: 'Mesh',
  summary: 'Lists launches of machines: those that are open, then those that ended last',
  answers: {
    200: jsonAnswer('Leases.', Type.Object({ object: Type.Literal('list'), data: Type.Array(LeaseSchema) })),
  },
}

export const LEASE_END_DOC: RouteDoc = {
  tag: 'Mesh',
  summary: 'Ends the machine of a lease, after its answers have moved',
  answers: { 200: jsonAnswer('The lease, on its way out.', LeaseSchema) },
  errors: ['NOT_FOUND'],
}
