/**
 * Whether this machine serves, kept true: looks at the policy file, the pause, the clock and the senses, and tells the
 * agent when the verdict or the reason changes. It decides nothing about attempts: closing and handing over is the
 * executor's, so that whatever the reason is, it is a planned move.
 */
import { watch } from 'node:fs'
import { join } from 'node:path'
import {
  isListed,
  isServed,
  LIMITS,
  type Access,
  type ModelDigest,
  type PeerId,
  type ReplicaConsent,
  type SkeinError,
} from '../../mesh/protocol/index.ts'
import type { CancelTimer, Clock, Logger, Startable } from '../../mesh/runtime/index.ts'
import { sensesOf, type Usage } from './conditions.ts'
import { localTime } from './hours.ts'
import { PAUSE_FILE, readPause, type Pause } from './pause-file.ts'
import { POLICY_FILE } from './policy-file.ts'
import { PolicySource } from './policy-source.ts'
import type { Observations, Sense, Senses } from './senses/senses.ts'
import { DailyUsage, USAGE_FILE } from './usage.ts'
import { handsOver, judge, reasonOf, SERVES, type Verdict } from './verdict.ts'

/** After its start, when it has other things to do. */
const METERED_FIRST_MS = 10_000
/** Looks between two writes of what was used. */
const SAVE_EVERY = 5
const HOUR_MS = 3_600_000

export interface OwnerPolicyComponents {
  readonly clock: Clock
  readonly log: Logger
  readonly senses: Senses
}

export interface PolicyListener {
  /** The verdict, its reason, or the lists of who may use what have changed. */
  changed(): void
  /** Whether an answer runs here: what the machine takes then is the mesh's. */
  isServing(): boolean
  /** `mayProbe` is another now. */
  probing?(): void
  /** What this machine takes while it answers by rule of thumb, in watts; where it tells nothing itself. */
  estimatedWatts?(): number
}

export interface PolicyStatus {
  /** For people; absent when the node serves. */
  readonly reason?: string
  /** Running answers are to go elsewhere. */
  readonly handsOver: boolean
  /** When it will be over, in ms since 1970, as far as each condition tells. */
  readonly untilMs?: number
  /** What is wrong with the policy file. */
  readonly problem?: SkeinError
  /** What the policy asks for and this machine does not tell. */
  readonly unknown: readonly string[]
  readonly usage: Usage
  /** Where a quota of energy holds: what it is counted by. */
  readonly wattsSource?: 'measured' | 'owner' | 'estimated'
}

export class OwnerPolicy implements Startable {
  readonly name = 'policy of the owner'
  readonly #components: OwnerPolicyComponents
  readonly #dataDir: string
  readonly #log: Logger
  readonly #source: PolicySource
  #listener: PolicyListener = { changed: () => {}, isServing: () => false }
  #usage: DailyUsage | undefined
  #verdict: Verdict = SERVES
  /** As of the last look. */
  #observed: Observations | undefined
  #pause: Pause | undefined
  #told = ''
  #measuredAtMs = 0
  #wattsSource: PolicyStatus['wattsSource']
  /** As last asked, and when; `undefined` before. */
  #metered: Observations['metered'] | undefined
  #meteredAtMs = 0
  #looks = 0
  #isLooking = false
  #mustLookAgain = false
  #isStopped = false
  #cancelLook: CancelTimer = () => {}
  #unwatch: () => void = () => {}

  constructor(components: OwnerPolicyComponents, init: { readonly dataDir: string }) {
    this.#components = components
    this.#dataDir = init.dataDir
    this.#log = components.log.scope('policy')
    this.#source = new PolicySource(init.dataDir, this.#log)
  }

  /** Whom to tell; before `start`. */
  listen(listener: PolicyListener): void {
    this.#listener = listener
  }

  /** When it resolves the verdict is that of now. Bounded by what the senses may take; does not throw. */
  async start(): Promise<void> {
    this.#usage = await DailyUsage.open(join(this.#dataDir, USAGE_FILE), this.#log)
    await this.#source.open()
    this.#measuredAtMs = this.#components.clock.nowMs()
    this.#meteredAtMs = this.#measuredAtMs - LIMITS.linkProbeIntervalMs + METERED_FIRST_MS
    this.#watch()
    await this.#look()
  }

  async stop(): Promise<void> {
    this.#isStopped = true
    this.#cancelLook()
    this.#unwatch()
    this.#usage?.save()
    await Promise.all([this.#usage?.settled(), this.#source.settled()])
  }

  status(): PolicyStatus {
    const { problem } = this.#source
    const reason = this.#reason()
    const untils = this.#verdict.closures.map(({ untilMs }) => untilMs)
    const untilMs = untils.some((each) => each === undefined) ? undefined : Math.max(...(untils as number[]))
    return {
      ...(reason !== undefined && { reason }),
      handsOver: this.#source.isClosed || handsOver(this.#verdict),
      ...(untilMs !== undefined && Number.isFinite(untilMs) && { untilMs }),
      ...(problem !== undefined && { problem }),
      unknown: this.#verdict.unknown,
      usage: this.#usageNow(),
      ...(this.#wattsSource !== undefined && { wattsSource: this.#wattsSource }),
    }
  }

  /** What its owner says that it takes more while it answers, in watts; `undefined` when nothing is said. */
  get ownerWatts(): number | undefined {
    return this.#source.policy.settings.watts || undefined
  }

  /** Why `coordinator` is not served, whatever the hour; `undefined` when it is. */
  refusalOf(coordinator: { readonly peerId: PeerId; readonly name: string }): string | undefined {
    const { coordinators } = this.#source.policy.settings
    const isServed = isListed(coordinators, [coordinator.name, coordinator.peerId])
    return isServed ? undefined : 'its owner does not serve this coordinator'
  }

  /** Whom it serves, for coordinators to know before they ask; absent when everyone. */
  get access(): Access | undefined {
    const { tenants } = this.#source.policy.settings
    return tenants.length === 0 ? undefined : { tenants: [...tenants] }
  }

  /** Why a task of `tenant` is not served, whatever the hour; `undefined` when it is. */
  tenantRefusalOf(tenant: string | undefined): string | undefined {
    const { tenants } = this.#source.policy.settings
    return isServed({ tenants: [...tenants] }, tenant) ? undefined : 'its owner does not serve this tenant'
  }

  /** Whether others may use a model of these names. */
  allows(digest: ModelDigest, aliases: readonly string[]): boolean {
    return isListed(this.#source.policy.settings.models, [digest, digest.replace('sha256:', ''), ...aliases])
  }

  /** Whether a coordinator may send some kilobytes to see how wide the link is. */
  get mayProbe(): boolean {
    const { whenUnknown } = this.#source.policy.settings
    return this.#metered === false || (this.#metered === 'unknown' && whenUnknown === 'serve')
  }

  /** What coordinators may order now: nothing is fetched over a metered link. */
  get replicas(): ReplicaConsent {
    const { replicas, whenUnknown } = this.#source.policy.settings
    if (replicas !== 'fetch') return replicas
    const metered = this.#observed?.metered ?? 'unknown'
    return metered === false || (metered === 'unknown' && whenUnknown === 'serve') ? 'fetch' : 'load'
  }

  /** An attempt began, or tokens were read or made. A quota that this uses up holds at once. */
  used(amounts: Partial<Usage>): void {
    this.#usage?.add(amounts)
    const { requestsPerDay, tokensPerDay } = this.#source.policy.settings
    if (this.#verdict.closures.some(({ condition }) => condition === 'quota')) return
    const { requests, tokens } = this.#usageNow()
    if ((requestsPerDay > 0 && requests >= requestsPerDay) || (tokensPerDay > 0 && tokens >= tokensPerDay))
      this.#judge()
  }

  #reason(): string | undefined {
    return this.#source.isClosed ? `${POLICY_FILE} has an error` : reasonOf(this.#verdict)
  }

  #usageNow(): Usage {
    const { zone } = this.#source.policy.settings
    const date = localTime(this.#components.senses.wallMs(), zone).date
    return this.#usage?.on(date) ?? { requests: 0, tokens: 0, wattHours: 0 }
  }

  /** Where the directory cannot be watched, the regular looks find what has changed. */
  #watch(): void {
    try {
      const watcher = watch(this.#dataDir, (_, file) => {
        if (file === POLICY_FILE || file === PAUSE_FILE) void this.#look()
      })
      watcher.on('error', () => watcher.close())
      this.#unwatch = () => watcher.close()
    } catch (thrown) {
      this.#log.debug({ err: thrown }, 'the data directory is not watched')
    }
  }

  /** Looks at everything, one look at a time. Does not throw. */
  async #look(): Promise<void> {
    this.#mustLookAgain = true
    if (this.#isLooking) return
    this.#isLooking = true
    while (this.#mustLookAgain && !this.#isStopped) {
      this.#mustLookAgain = false
      this.#cancelLook()
      await this.#source.look(this.#components.clock.nowMs())
      await this.#sense()
    }
    this.#isLooking = false
    if (this.#isStopped) return
    const inMs = this.#source.settlesInMs ?? LIMITS.policyLookMs
    this.#cancelLook = this.#components.clock.timer(inMs, () => void this.#look())
  }

  async #sense(): Promise<void> {
    const { clock, senses } = this.#components
    const wanted = this.#wanted()
    const [sensed, pause] = await Promise.all([senses.read(wanted), readPause(this.#dataDir)])
    this.#tookMetered(wanted, sensed)
    const observations = { ...sensed, watts: this.#watts(sensed.watts) }
    const nowMs = clock.nowMs()
    const tookMs = nowMs - this.#measuredAtMs
    this.#measuredAtMs = nowMs
    const { watts } = observations
    this.#usageNow()
    // What the machine took since the last look, as far as it was awake: a night asleep is no use.
    if (watts !== 'unknown' && this.#listener.isServing())
      this.#usage!.add({ wattHours: (watts * Math.min(tookMs, 2 * LIMITS.policyLookMs)) / HOUR_MS })
    if (++this.#looks % SAVE_EVERY === 0) this.#usage!.save()
    this.#observed = observations
    this.#pause = pause
    this.#judge()
  }

  /** Now and then whether the link is metered, too: it is not probed then. */
  #wanted(): ReadonlySet<Sense> {
    const wanted = sensesOf(this.#source.policy.settings)
    const isDue = this.#components.clock.nowMs() - this.#meteredAtMs >= LIMITS.linkProbeIntervalMs
    return isDue ? new Set([...wanted, 'metered' as const]) : wanted
  }

  #tookMetered(wanted: ReadonlySet<Sense>, { metered }: Observations): void {
    if (!wanted.has('metered')) return
    const before = this.mayProbe
    this.#metered = metered
    this.#meteredAtMs = this.#components.clock.nowMs()
    if (this.mayProbe !== before) this.#listener.probing?.()
  }

  /** What counts for a quota of energy: what is metered, else what its owner says, else a rule of thumb. */
  #watts(metered: Observations['watts']): Observations['watts'] {
    if (this.#source.policy.settings.wattHoursPerDay === 0) {
      this.#wattsSource = undefined
      return metered
    }
    const assumed = this.ownerWatts ?? this.#listener.estimatedWatts?.() ?? 'unknown'
    if (metered !== 'unknown') this.#wattsSource = 'measured'
    else if (assumed === 'unknown') this.#wattsSource = undefined
    else this.#wattsSource = this.ownerWatts === undefined ? 'estimated' : 'owner'
    return metered === 'unknown' ? assumed : metered
  }

  #judge(): void {
    const observations = this.#observed
    if (observations === undefined || this.#isStopped) return
    const { clock, senses } = this.#components
    const { settings } = this.#source.policy
    const facts = { wallMs: senses.wallMs(), observations, usage: this.#usageNow(), pause: this.#pause }
    this.#verdict = judge(settings, facts, this.#verdict, clock.nowMs())
    const { reason, handsOver: isHandingOver, problem } = this.status()
    const { coordinators, tenants, models } = settings
    const lists = [coordinators, tenants, models, this.replicas]
    const said = JSON.stringify([reason, isHandingOver, problem?.message, ...lists])
    const isNew = said !== this.#told
    const isFirst = this.#told === ''
    this.#told = said
    // One that serves from the start is as everyone takes it to be.
    if (!isNew || (isFirst && reason === undefined && problem === undefined)) return
    this.#log.info({ reason, handsOver: isHandingOver }, reason === undefined ? 'serves' : 'does not serve')
    this.#listener.changed()
  }
}
