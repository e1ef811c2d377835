/** What lets a task leave the owner's nodes for a rented one. Nothing does without a reason. */
import { Type, type Static } from 'typebox'
import { LIMITS } from './limits.ts'

/**
 * Why a task goes to a cloud node. `too-big`: no node of the owner's can ever do it. `deadline`: none can within its deadline.
 * `name`: the client asked for the cloud. `lost`: its answer had begun, and no node of the owner's is left to go on with it.
 * `low-confidence`: a node of the owner's has answered, and its model was less sure of that than the owner wants.
 */
export const CLOUD_REASONS = ['too-big', 'deadline', 'name', 'lost', 'low-confidence'] as const
export type CloudReason = (typeof CLOUD_REASONS)[number]

/** What a mesh is known by among those that a request has left: to itself alone, and as long as its coordinator runs. */
export const VIA_MARK = /^[A-Za-z0-9_-]{16}$/

/** In the first frame of an attempt or of work. A cloud node refuses either without it (`LOCAL_ONLY`). */
export const LeaveSchema = Type.Object({
  reason: Type.Enum([...CLOUD_REASONS]),
  /** Meshes that it has left before; none when absent. */
  hops: Type.Optional(Type.Integer({ minimum: 1, maximum: LIMITS.hopsMax })),
  /** Marks of those meshes, oldest first, and of the one that it leaves now. */
  via: Type.Optional(
    Type.Array(Type.String({ pattern: VIA_MARK.source }), { minItems: 1, maxItems: LIMITS.hopsMax + 1 }),
  ),
})
export type Leave = Static<typeof LeaveSchema>
