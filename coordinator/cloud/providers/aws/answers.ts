/** What EC2 tells of instances, checked, and as the port has it. */
import { Type, type Static, type TSchema } from 'typebox'
import { Compile } from 'typebox/compile'
import { printable, unavailable } from '../bounds.ts'
import type { Machine, MachineState } from '../../provider.ts'

export const MESH_TAG = 'skein-mesh'
export const TOKEN_TAG = 'skein-token'

/** Between EC2's notice and the end of a spot instance. */
const NOTICE_MS = 120_000

const text = Type.String({ minLength: 1, maxLength: 512 })
const InstanceSchema = Type.Object({
  InstanceId: Type.String({ pattern: '^i-[0-9a-f]{8,17}$' }),
  State: Type.Object({ Name: text }),
  LaunchTime: Type.Optional(Type.Unknown()),
  InstanceLifecycle: Type.Optional(text),
  Tags: Type.Optional(Type.Array(Type.Object({ Key: Type.String(), Value: Type.Optional(Type.String()) }))),
})
export type Instance = Static<typeof InstanceSchema>

const LaunchedSchema = Type.Object({ Instances: Type.Optional(Type.Array(InstanceSchema)) })
const DescribedSchema = Type.Object({
  Reservations: Type.Optional(Type.Array(LaunchedSchema)),
  NextToken: Type.Optional(Type.String({ maxLength: 4096 })),
})
const SpotRequestsSchema = Type.Object({
  SpotInstanceRequests: Type.Optional(
    Type.Array(
      Type.Object({
        InstanceId: Type.Optional(Type.String()),
        Status: Type.Optional(Type.Object({ UpdateTime: Type.Optional(Type.Unknown()) })),
      }),
    ),
  ),
  NextToken: Type.Optional(Type.String({ maxLength: 4096 })),
})
const launched = Compile(LaunchedSchema)
const described = Compile(DescribedSchema)
const spotRequests = Compile(SpotRequestsSchema)

interface Checker {
  Check(value: unknown): boolean
  Errors(value: unknown): readonly { instancePath: string }[]
}

function checked<T extends TSchema>(answer: unknown, checker: Checker, action: string): Static<T> {
  if (checker.Check(answer)) return answer as Static<T>
  const at = printable(checker.Errors(answer)[0]?.instancePath ?? '')
  throw unavailable(`EC2 ${action}: an answer that is none (${at})`)
}

/** @throws SkeinError CLOUD_UNAVAILABLE for what is no answer. */
export const launchedIn = (answer: unknown): readonly Instance[] =>
  checked<typeof LaunchedSchema>(answer, launched, 'RunInstances').Instances ?? []

export interface Page<T> {
  readonly items: readonly T[]
  readonly next: string | undefined
}
const nextOf = (token: string | undefined): string | undefined => (token === '' ? undefined : token)

/** @throws SkeinError CLOUD_UNAVAILABLE for what is no answer. */
export function instancesIn(answer: unknown): Page<Instance> {
  const { Reservations = [], NextToken } = checked<typeof DescribedSchema>(answer, described, 'DescribeInstances')
  return { items: Reservations.flatMap(({ Instances = [] }) => Instances), next: nextOf(NextToken) }
}

export interface Interruption {
  readonly instanceId: string
  readonly endsAtMs: number
}

/** Of requests that are marked for termination: which instance, and when. @throws SkeinError CLOUD_UNAVAILABLE. */
export function interruptionsIn(answer: unknown): Page<Interruption> {
  const { SpotInstanceRequests = [], NextToken } = checked<typeof SpotRequestsSchema>(
    answer,
    spotRequests,
    'DescribeSpotInstanceRequests',
  )
  const items = SpotInstanceRequests.flatMap(({ InstanceId, Status }) => {
    const atMs = timeOf(Status?.UpdateTime)
    return InstanceId === undefined || atMs === undefined
      ? []
      : [{ instanceId: InstanceId, endsAtMs: atMs + NOTICE_MS }]
  })
  return { items, next: nextOf(NextToken) }
}

const timeOf = (value: unknown): number | undefined =>
  value instanceof Date && Number.isFinite(value.getTime()) ? value.getTime() : undefined

/** One that was stopped costs its volumes still, and nobody starts it again: it is on its way out, and is told so again. */
const STATES: Readonly<Record<string, MachineState>> = {
  pending: 'starting',
  running: 'running',
  'shutting-down': 'stopping',
  stopping: 'stopping',
  stopped: 'stopping',
  terminated: 'gone',
}

export const tagOf = ({ Tags = [] }: Instance, key: string): string | undefined =>
  Tags.find(({ Key }) => Key === key)?.Value

/** @throws SkeinError CLOUD_UNAVAILABLE for a state that EC2 does not have. */
export function machineOf(instance: Instance, endsAtMs?: number): Machine {
  const state = STATES[instance.State.Name]
  if (state === undefined) throw unavailable(`EC2: an instance is in the state ${printable(instance.State.Name)}`)
  return {
    id: instance.InstanceId,
    token: tagOf(instance, TOKEN_TAG) ?? '',
    state,
    launchedAtMs: timeOf(instance.LaunchTime) ?? 0,
    ...(endsAtMs !== undefined && { endsAtMs }),
  }
}
