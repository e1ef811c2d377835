/** What a node is doing *now*: the load report on its control streams, sent on change and never stored. */
import { Type, type Static } from 'typebox'
import { LIMITS } from './limits.ts'
import { amount, count, list, modelDigest, text } from './schema.ts'

/** Hotter is no processor. */
export const CELSIUS_MAX = 150
/** More is no machine. */
export const WATTS_MAX = 100_000

export const ModelLoadSchema = Type.Object({
  digest: modelDigest(),
  /** Attempts that hold a slot. */
  running: count(LIMITS.slotsPerModelMax),
  /** Prompt tokens accepted and not yet prefilled. */
  prefillTokensPending: count(),
  /** Of a model in a server that tells: requests that wait there. */
  waiting: Type.Optional(count()),
  /** Of a model in a server that tells: share of its KV memory in use, 0 to 1. */
  kvUse: Type.Optional(amount(1)),
})
export const LoadReportSchema = Type.Object({
  /** Grows within one control stream. */
  sequence: count(),
  models: list(ModelLoadSchema, LIMITS.modelsPerNodeMax),
  memoryFreeBytes: count(),
  /** Of the hottest of its processors and GPUs, in whole degrees; absent where the machine does not tell. */
  temperatureCelsius: Type.Optional(count(CELSIUS_MAX)),
  /** What it takes, as far as it is metered: on battery all of it, else processors and GPUs. Absent where nothing is. */
  watts: Type.Optional(count(WATTS_MAX)),
  /** No new work; what runs may end here: the owner said so. */
  cordoned: Type.Boolean(),
  /** No new work, and what runs is to be handed over: the node is about to leave. */
  draining: Type.Boolean(),
  /** Its link may be probed: it is not billed by volume, as far as it is known. */
  mayProbe: Type.Optional(Type.Boolean()),
  /** Why the policy of its owner takes no new work, in words for people. */
  paused: Type.Optional(text(LIMITS.pauseReasonLengthMax)),
  /**
   * What its owner lets this coordinator order: to `load` models that are on the disk, or to `fetch` models from members as
   * well. Nothing when absent.
   */
  replicas: Type.Optional(Type.Enum(['load', 'fetch'])),
})
/** What the owner of a node lets coordinators order. */
export type ReplicaConsent = NonNullable<LoadReport['replicas']> | 'off'
export type LoadReport = Static<typeof LoadReportSchema>
