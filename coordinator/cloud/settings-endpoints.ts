/** The section `endpoints` of the cloud settings: OpenAI-compatible servers elsewhere, each of which becomes a node of the mesh. */
import { Type, type Static } from 'typebox'
import { LIMITS, PriceSchema } from '../../mesh/protocol/index.ts'

const ENDPOINTS_MAX = 16
const KEYS_MAX = 8

export const EndpointSchema = Type.Object(
  {
    /** Of its node, as `skein nodes` shows it. */
    name: Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$' }),
    url: Type.String({ minLength: 1, maxLength: 2048, pattern: '^https?://' }),
    /** Environment variables that hold keys, tried in their order; the keys themselves are never in the file. */
    keys: Type.Optional(
      Type.Array(Type.String({ pattern: '^[A-Za-z_][A-Za-z0-9_]{0,127}$' }), { maxItems: KEYS_MAX, uniqueItems: true }),
    ),
    /** For a million tokens each. One of this and `free`: what is asked there never costs what its owner has not said. */
    price: Type.Optional(Type.Object(PriceSchema.properties, { additionalProperties: false })),
    /** Nothing is billed, whatever it is asked. */
    free: Type.Optional(Type.Literal(true)),
    models: Type.Array(
      Type.Object(
        {
          /** As the server calls it. */
          name: Type.String({ minLength: 1, maxLength: 256 }),
          /** Alias or digest of the model of the mesh that it stands in for. */
          serves: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
        },
        { additionalProperties: false },
      ),
      { minItems: 1, maxItems: LIMITS.modelsPerNodeMax },
    ),
    /** Requests that it may have at a time. */
    slots: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.slotsPerModelMax })),
  },
  { additionalProperties: false },
)
export type EndpointSettings = Static<typeof EndpointSchema>

export const EndpointsSchema = Type.Array(EndpointSchema, { maxItems: ENDPOINTS_MAX })
