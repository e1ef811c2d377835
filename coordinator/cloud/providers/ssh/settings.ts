/** Settings of machines of the owner's that are reached over ssh, and of what is started on them. */
import { Type, type Static } from 'typebox'
import { HourPriceSchema, ReadyMinutesSchema } from '../worker-settings.ts'

const MACHINES_MAX = 32
const MODELS_MAX = 16
const PORT_MAX = 65_535

const UNIT = '^[A-Za-z0-9][A-Za-z0-9@_.-]{0,119}\\.service$'
/** Absolute, or below the account's home; every character is one that no shell reads otherwise. */
const PATH = '^/?[A-Za-z0-9._][A-Za-z0-9._/-]{0,254}$'
const HOST = '^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$'

const PortSchema = Type.Integer({ minimum: 1, maximum: PORT_MAX })

/** A packet that the machine's network card awaits while it sleeps. */
const WakeSchema = Type.Object(
  {
    mac: Type.String({ pattern: '^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$' }),
    /** Broadcast address of its network. */
    address: Type.String({ pattern: '^[0-9]{1,3}(\\.[0-9]{1,3}){3}$' }),
    port: Type.Optional(PortSchema),
  },
  { additionalProperties: false },
)
export type WakeSettings = Static<typeof WakeSchema>

const MachineSchema = Type.Object(
  {
    host: Type.String({ pattern: HOST }),
    port: Type.Optional(PortSchema),
    user: Type.String({ pattern: '^[a-z_][a-z0-9_-]{0,31}$' }),
    /** Where it sleeps when it is not needed; then one that does not answer is taken for one that runs nothing. */
    wake: Type.Optional(WakeSchema),
    /** What it does once its worker is told to stop. Nothing when absent. */
    afterwards: Type.Optional(Type.Literal('poweroff')),
    /** Of the account's own service manager, or of the system's, by `sudo -n`. `user` when absent. */
    manager: Type.Optional(Type.Union([Type.Literal('user'), Type.Literal('system')])),
    /** The units that are started and stopped. */
    vllm: Type.Optional(Type.String({ pattern: UNIT })),
    worker: Type.Optional(Type.String({ pattern: UNIT })),
    /** Where the lease, and what the worker needs to know, are kept. `.skein-worker` in the account's home when absent. */
    folder: Type.Optional(Type.String({ pattern: PATH })),
  },
  { additionalProperties: false },
)
export type SshMachine = Static<typeof MachineSchema>

export const SshSchema = Type.Object(
  {
    kind: Type.Literal('ssh'),
    machines: Type.Record(Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,39}$' }), MachineSchema, {
      minProperties: 1,
      maxProperties: MACHINES_MAX,
      additionalProperties: false,
    }),
    /** With the keys of all machines. That of the account when absent. */
    knownHosts: Type.Optional(Type.String({ pattern: '^/[\\x21-\\x7e]{1,1023}$' })),
    /** Private key. Those of the account, and of its agent, when absent. */
    identity: Type.Optional(Type.String({ pattern: '^/[\\x21-\\x7e]{1,1023}$' })),
  },
  { additionalProperties: false },
)
export type SshSettings = Static<typeof SshSchema>

export const SshFlavourSchema = Type.Object(
  {
    kind: Type.Literal('ssh'),
    /** A flavour is one machine: there is no second of its like to launch instead. */
    machine: Type.String({ pattern: '^[a-z0-9][a-z0-9-]{0,39}$' }),
    /** What the vLLM on it calls its models (`--served-model-name`): one for each model that a pool has it stand in for. */
    models: Type.Array(Type.String({ maxLength: 256, pattern: '^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$' }), {
      minItems: 1,
      maxItems: MODELS_MAX,
      uniqueItems: true,
    }),
    /** What its running costs the owner; 0 when absent. */
    pricePerHour: Type.Optional(HourPriceSchema),
    readyMinutes: ReadyMinutesSchema,
  },
  { additionalProperties: false },
)
export type SshFlavour = Static<typeof SshFlavourSchema>
