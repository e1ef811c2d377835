/** Settings of EC2: the account, and what is launched in it. */
import { Type, type Static } from 'typebox'
import {
  EndpointUrlSchema,
  EnvironmentNameSchema,
  HourPriceSchema,
  ReadyMinutesSchema,
  WorkerSchema,
} from '../worker-settings.ts'

const PLACES_MAX = 16
const GROUPS_MAX = 5
const DISK_GIB_MIN = 8
const DISK_GIB_MAX = 16_384

export const AwsSchema = Type.Object(
  {
    kind: Type.Literal('aws'),
    region: Type.String({ pattern: '^[a-z]{2}(-[a-z]+)+-[0-9]{1,2}$', maxLength: 32 }),
    /** Environment variables with the key's id, its secret, and the session's token where there is one. */
    keyId: EnvironmentNameSchema,
    secret: EnvironmentNameSchema,
    sessionToken: Type.Optional(EnvironmentNameSchema),
    /** In place of the region's own, such as a private one. */
    endpoint: Type.Optional(EndpointUrlSchema),
  },
  { additionalProperties: false },
)
export type AwsSettings = Static<typeof AwsSchema>

export const AwsFlavourSchema = Type.Object(
  {
    kind: Type.Literal('aws'),
    instanceType: Type.String({ pattern: '^[a-z0-9-]+\\.[a-z0-9-]+$', maxLength: 64 }),
    /** With a container engine and the GPU's driver on it. */
    machineImage: Type.String({ pattern: '^ami-[0-9a-f]{8,17}$' }),
    /** Where it may be, one of them for each launch; without them EC2 chooses among the default network's zones. */
    subnets: Type.Optional(
      Type.Array(Type.String({ pattern: '^subnet-[0-9a-f]{8,17}$' }), {
        minItems: 1,
        maxItems: PLACES_MAX,
        uniqueItems: true,
      }),
    ),
    /** Without an inbound rule: the worker dials out. The network's default group when absent. */
    securityGroups: Type.Optional(
      Type.Array(Type.String({ pattern: '^sg-[0-9a-f]{8,17}$' }), {
        minItems: 1,
        maxItems: GROUPS_MAX,
        uniqueItems: true,
      }),
    ),
    /** Spot with a highest price in US dollars an hour, beyond which EC2 takes it back; on demand when absent. */
    spot: Type.Optional(Type.Object({ maxUsdPerHour: HourPriceSchema }, { additionalProperties: false })),
    disk: Type.Object(
      {
        gib: Type.Integer({ minimum: DISK_GIB_MIN, maximum: DISK_GIB_MAX }),
        /** The name of the root device in the machine image. */
        device: Type.String({ pattern: '^/dev/[a-z0-9]{2,8}$' }),
      },
      { additionalProperties: false },
    ),
    /** A snapshot of a file system labelled `skein-models`: the models are there, and need not be fetched. */
    models: Type.Optional(Type.String({ pattern: '^snap-[0-9a-f]{8,17}$' })),
    worker: WorkerSchema,
    /** All in: the machine, its volumes and its address. */
    pricePerHour: HourPriceSchema,
    readyMinutes: ReadyMinutesSchema,
  },
  { additionalProperties: false },
)
export type AwsFlavour = Static<typeof AwsFlavourSchema>
