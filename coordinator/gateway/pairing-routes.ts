/** Pairing codes over HTTP: made and watched by admins; the machine that joins shows one to the mesh, never here. */
import type { FastifyInstance } from 'fastify'
import { Type, type Static } from 'typebox'
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import type { PairingDesk, PairingView } from '../admission/index.ts'
import type { GenerationComponents } from './exchange.ts'
import { jsonAnswer, type RouteDoc } from './route-doc.ts'

/** Shortest life of a code: less than this cannot be typed. */
const VALID_MS_MIN = 10_000

const PairingBodySchema = Type.Union([
  Type.Object({
    valid_ms: Type.Optional(Type.Integer({ minimum: VALID_MS_MIN, maximum: LIMITS.pairingValidityMs })),
  }),
  // no body: the usual life
  Type.Null(),
])
type PairingBody = Static<typeof PairingBodySchema>

const PairingSchema = Type.Object(
  {
    state: Type.Enum(['none', 'open', 'used', 'spent', 'over']),
    code: Type.Optional(Type.String()),
    expiresAtMs: Type.Optional(Type.Number({ minimum: 0 })),
    triesLeft: Type.Optional(Type.Integer({ minimum: 0 })),
    joined: Type.Optional(Type.Object({ peerId: Type.String(), name: Type.String() })),
  },
  { title: 'Pairing' },
)

const doc = (summary: string, description: string, status = 200): RouteDoc => ({
  tag: 'Mesh',
  summary,
  answers: { [status]: jsonAnswer(description, PairingSchema) },
  errors: ['NOT_THE_AUTHORITY'],
})
const OPEN_DOC = doc('Makes a pairing code, by which one machine may join', 'The code.', 201)
const STATE_DOC = doc('The last pairing code that was made', 'As it is now.')
const CLOSE_DOC = doc('Takes the pairing code back', 'As it is now.')

const told = (view: PairingView | undefined): object => view ?? { state: 'none' }

export function pairingRoutes(app: FastifyInstance, { service }: GenerationComponents): void {
  const desk = (): PairingDesk => {
    if (service.pairing) return service.pairing
    throw new SkeinError(
      'NOT_THE_AUTHORITY',
      'the mesh key is not here; make the code at the coordinator that holds it',
    )
  }

  app.post<{ Body: PairingBody | undefined }>(
    '/mesh/v1/pairing',
    { schema: { body: PairingBodySchema }, config: { doc: OPEN_DOC } },
    ({ body }, reply) => reply.code(201).send(desk().open(body?.valid_ms ?? LIMITS.pairingValidityMs)),
  )

  app.get('/mesh/v1/pairing', { config: { doc: STATE_DOC } }, () => told(desk().current()))

  app.delete('/mesh/v1/pairing', { config: { doc: CLOSE_DOC } }, () => {
    desk().close()
    return told(desk().current())
  })
}
