/**
 * Who launches machines, as a port: a cloud by its API, or the owner's own machines over ssh. A provider knows machines and
 * what they cost; which are wanted, whether there is money for them, and which must go is the orchestrator's to say
 * (`orchestrator.ts`). One compliance suite holds all of them (`test/compliance/provider.suite.ts`).
 *
 * Errors of every method are `SkeinError`s of three codes, since only they differ in what is to be done:
 *   - `CLOUD_NO_CAPACITY`: there is no such machine now. Nothing was launched. Asked again later.
 *   - `CLOUD_REFUSED`: the provider will not, and will not later either, unless the owner does something (a wrong key, an
 *     image that does not exist, a quota of none). Nothing was launched.
 *   - `CLOUD_UNAVAILABLE`: throttled, unreachable, an answer that is none, or none in time. **What was asked may have been
 *     done.** Asked again later, after `retryAfterSeconds` where the provider has named a time.
 * A signal that aborts ends a call with its reason; what was asked may have been done as well. An adapter does not retry: the
 * orchestrator does, at a pace of its own. It bounds each answer, and each call by `CALL_MS` where its library has a limit.
 */

/** The longest that an adapter waits for one answer of its provider, in ms. */
export const CALL_MS = 30_000

/** Machines that `list` gives at most; more than that with our tag is `CLOUD_UNAVAILABLE`, never a part of them. */
export const MACHINES_MAX = 1000

/** What a machine of a flavour costs, and when it could serve. */
export interface Quote {
  /** In millionths of the owner's currency; 0 for a machine that costs nothing more by running. Never too low: it is what is reserved. */
  readonly microsPerHour: number
  /** Billed in whole steps of so many ms, begun ones whole: 1000 by the second, 3,600,000 by the hour. At least 1. */
  readonly billedStepMs: number
  /** Billed for at least so many ms, however short it ran. */
  readonly billedLeastMs: number
  /** From the launch until the worker there is ready, in ms, as expected: boot, image, model. */
  readonly readyMs: number
  /** The provider may take it back at any time. */
  readonly isSpot: boolean
}

/** One launch, once. All of it is text that ends in the machine's user data or its command line; an adapter quotes it. */
export interface LaunchOrder {
  /**
   * The same token never makes two machines, however often it is launched, by whichever process: it is given to the API as
   * its idempotency key, or kept as a tag of the machine that is looked for before another is made. 1 to 64 of
   * `A–Z a–z 0–9 -`.
   */
  readonly token: string
  /** Of the settings (`flavours`); one that the provider was not given is `CLOUD_REFUSED`. */
  readonly flavour: string
  /** For people: the name of the machine, and of its node in the mesh. 1 to 63 of `a–z 0–9 -`, a letter first. */
  readonly name: string
  /** One use, short-lived: `skein worker --join`. Secret, and of no use to anybody who reads it later. */
  readonly invite: string
  /** Aliases or digests of the mesh that the worker's model stands in for: `skein worker --serves`. */
  readonly serves: readonly string[]
  /**
   * The dead-man switch, in minutes: the machine powers itself off when its worker has heard no coordinator for so long,
   * counted from its boot on, whether the worker ever ran or not. A machine that has powered itself off is not billed any
   * more, and goes out of the list without us.
   */
  readonly aloneMinutes: number
}

/**
 * `starting`: it exists, and is billed by most · `running`: its system runs, which says nothing of the worker · `stopping`:
 * it was told to go, or is going by itself; it never comes back · `gone`: it is not billed any more, and never comes back.
 */
export type MachineState = 'starting' | 'running' | 'stopping' | 'gone'

export interface Machine {
  /** The provider's own name of it; opaque to us. At most 128 characters. */
  readonly id: string
  /** Of the order that it was launched for, as the provider has kept it. */
  readonly token: string
  readonly state: MachineState
  /** Wall clock of the provider, in ms since 1970. */
  readonly launchedAtMs: number
  /** The provider takes it back then, in ms since 1970 (spot notice), where it has said so. */
  readonly endsAtMs?: number
}

export interface Provider {
  /**
   * How long after a call the answers of `get` and `list` may still leave out what it did, in ms: a machine that was launched
   * is missing, one that was terminated runs. 0 where they are always true. Who has not heard what came of a launch
   * waits so long before believing that nothing did.
   */
  readonly settleMs: number
  /** Its price and time as the provider or the owner say them now. May be kept for some minutes. */
  quote(flavour: string, signal: AbortSignal): Promise<Quote>
  /**
   * Makes the machine of `order.token`, or gives back the one that it has made before, in whatever state that is now: `gone`
   * when it came and went. Resolves as soon as the provider has accepted it, not when it runs.
   */
  launch(order: LaunchOrder, signal: AbortSignal): Promise<Machine>
  /** `undefined` when the provider knows no such machine, or none of our mesh's: it is gone, or not yet to be seen. */
  get(machineId: string, signal: AbortSignal): Promise<Machine | undefined>
  /**
   * All that carry our mesh's tag and are not `gone`, all pages of them. Never some of them as if they were all: a page
   * that fails fails the call. Machines of others are never in it.
   */
  list(signal: AbortSignal): Promise<readonly Machine[]>
  /**
   * Has the worker on it take nothing new and end what it does, where the provider has a way to (SIGTERM over ssh); does
   * nothing where not, since the mesh has asked the worker already. Nothing is wrong with a machine that is gone.
   */
  drain(machineId: string, signal: AbortSignal): Promise<void>
  /**
   * Ends the machine and its bill, at once. Resolves when the provider has accepted it; idempotent, and nothing is wrong
   * with a machine that is gone or was never there. A machine without our mesh's tag is left alone (`CLOUD_REFUSED`).
   */
  terminate(machineId: string, signal: AbortSignal): Promise<void>
}
