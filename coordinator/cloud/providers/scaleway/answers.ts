/** What Scaleway tells of Instances and volumes, checked. */
import { Type, type Static, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { unavailable } from '../bounds.ts'
import type { MachineState } from '../../provider.ts'

const UUID = '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
const VOLUMES_MAX = 64

const tags = Type.Array(Type.String({ maxLength: 1024 }), { maxItems: 256 })
const ServerSchema = Type.Object({
  id: Type.String({ pattern: UUID }),
  state: Type.String({ maxLength: 64 }),
  tags,
  creation_date: Type.Optional(Type.String({ maxLength: 64 })),
  volumes: Type.Record(
    Type.String({ maxLength: 8 }),
    Type.Object({ id: Type.String({ pattern: UUID }), volume_type: Type.String({ maxLength: 64 }) }),
    { maxProperties: VOLUMES_MAX },
  ),
})
export type Server = Static<typeof ServerSchema>

const VolumeSchema = Type.Object({
  id: Type.String({ pattern: UUID }),
  status: Type.String({ maxLength: 64 }),
  tags,
  created_at: Type.Optional(Type.String({ maxLength: 64 })),
})
export type Volume = Static<typeof VolumeSchema>

const TypeSchema = Type.Object({
  hourly_price: Type.Number({ minimum: 0, maximum: 100_000 }),
  gpu: Type.Optional(Type.Union([Type.Integer({ minimum: 0 }), Type.Null()])),
})
export type ServerType = Static<typeof TypeSchema>

const OneServer = Type.Object({ server: ServerSchema })
const total = Type.Integer({ minimum: 0 })
const Servers = Type.Object({ servers: Type.Array(ServerSchema), total_count: total })
const Volumes = Type.Object({ volumes: Type.Array(VolumeSchema), total_count: total })
const Types = Type.Object({ servers: Type.Record(Type.String({ maxLength: 128 }), TypeSchema), total_count: total })

interface Checker {
  Check(value: unknown): boolean
  Errors(value: unknown): readonly { instancePath: string }[]
}

/** @throws SkeinError CLOUD_UNAVAILABLE for what is no such answer. */
const reader = <T extends TSchema>(schema: T): ((body: unknown) => Static<T>) => {
  const checker = Compile(schema) as unknown as Checker
  return (body) => {
    if (checker.Check(body)) return body as Static<T>
    throw unavailable(`Scaleway: an answer that is none (${checker.Errors(body)[0]?.instancePath ?? ''})`)
  }
}
export const readServer = reader(OneServer)
export const readServers = reader(Servers)
export const readVolumes = reader(Volumes)
export const readTypes = reader(Types)

/**
 * One that was made and never started is `starting`: who launches it again starts it. One that stands still in its place was
 * shut down from within, and is billed like one that runs.
 */
const STATES: Readonly<Record<string, MachineState>> = {
  stopped: 'starting',
  starting: 'starting',
  running: 'running',
  'stopped in place': 'running',
  locked: 'running',
  stopping: 'stopping',
}

/** @throws SkeinError CLOUD_UNAVAILABLE for a state that Scaleway does not have. */
export function stateOf({ state }: Server): MachineState {
  const known = STATES[state]
  if (known === undefined) throw unavailable('Scaleway: a machine is in a state that is not known')
  return known
}

/** Milliseconds since 1970; 0 for what is no time. */
export const timeOf = (text: string | undefined): number => {
  const ms = Date.parse(text ?? '')
  return Number.isFinite(ms) ? ms : 0
}
