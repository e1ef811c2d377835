/** Settings of Scaleway Instances: the project, and what is launched in it. */
import { Type, type Static } from 'typebox'
import {
  EndpointUrlSchema,
  EnvironmentNameSchema,
  HourPriceSchema,
  ReadyMinutesSchema,
  StepSecondsSchema,
  WorkerSchema,
} from '../worker-settings.ts'

const ZONES_MAX = 16
const DISK_GB_MIN = 10
const DISK_GB_MAX = 10_000

const UUID = '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'

export const ScalewaySchema = Type.Object(
  {
    kind: Type.Literal('scaleway'),
    /** Tried in their order; machines are looked for in all of them, hence one is taken out only when it has none. */
    zones: Type.Array(Type.String({ pattern: '^[a-z]{2}-[a-z]{3}-[0-9]$' }), {
      minItems: 1,
      maxItems: ZONES_MAX,
      uniqueItems: true,
    }),
    project: Type.String({ pattern: UUID }),
    /** Environment variable with the secret key. */
    key: EnvironmentNameSchema,
    endpoint: Type.Optional(EndpointUrlSchema),
  },
  { additionalProperties: false },
)
export type ScalewaySettings = Static<typeof ScalewaySchema>

const flavour = {
  kind: Type.Literal('scaleway'),
  /** Commercial type, such as `L4-1-24G`. */
  type: Type.String({ pattern: '^[A-Z0-9][A-Z0-9-]{0,63}$' }),
  /** Id or label, such as `ubuntu_noble_gpu_os_12`. */
  machineImage: Type.String({ pattern: '^[a-z0-9][a-z0-9_-]{0,127}$' }),
  /** Without an inbound rule: the worker dials out. The project's default group when absent. */
  securityGroup: Type.Optional(Type.String({ pattern: UUID })),
  /** Of the root volume, which is block storage. */
  diskGb: Type.Integer({ minimum: DISK_GB_MIN, maximum: DISK_GB_MAX }),
  /** A snapshot of a file system labelled `skein-models`: the models are there, and need not be fetched. */
  models: Type.Optional(Type.String({ pattern: UUID })),
  worker: WorkerSchema,
  /** All in: the machine, its volumes and its address. In its place `extrasPerHour`. */
  pricePerHour: Type.Optional(HourPriceSchema),
  /** Of volumes and address, in euros: added to the price of the machine in Scaleway's own list, which has only that. */
  extrasPerHour: Type.Optional(HourPriceSchema),
  /** An hour when absent, or a minute where the list says that the machine has a GPU. */
  billedStepSeconds: Type.Optional(StepSecondsSchema),
  readyMinutes: ReadyMinutesSchema,
}
export const ScalewayFlavourSchema = Type.Object(flavour, { additionalProperties: false })
export type ScalewayFlavour = Static<typeof ScalewayFlavourSchema>
