/**
 * Rules at work. A rule whose condition is met is written down as begun, then a model is asked where it wants that, then it
 * acts: by the coordinator's desk of calls, as any client does, hence held to the device's policy, confirmation and rates.
 * Nothing is tried twice: what a crash interrupts is not done, and what may have been done is not done again.
 */
import {
  asSkeinError,
  LIMITS,
  SkeinError,
  type CallOutcome,
  type Reading,
  type RuleOutcome,
  type RuleReport,
} from '../../mesh/protocol/index.ts'
import { withDeadline, type CancelTimer, type Clock, type Logger } from '../../mesh/runtime/index.ts'
import type { BridgePart, Cancel, DeviceSessions, SessionView, Tally } from '../ports/index.ts'
import { RuleOutcomes } from './outcomes.ts'
import { questionOf, type LastReading, type RuleQuestion } from './question.ts'
import { afterReading, fired, heldBack, isDue, NEW_STATE, type RuleState } from './rule-state.ts'
import type { RuleStates, RuleStore } from './rule-store.ts'
import type { Rule, RuleAct } from './rules-file.ts'

/** `confirm`: a person is asked. */
export type ActOutcome = CallOutcome | 'confirm'

export interface RuleModels {
  /**
   * One of the question's options, asked in the name of `device`: its policy and quotas hold.
   *
   * @throws SkeinError the gateway's code, COORDINATOR_UNREACHABLE; ENGINE_FAILED for an answer that is none. The signal's
   *   reason.
   */
  decide(device: string, question: RuleQuestion, localOnly: boolean, signal: AbortSignal): Promise<string>
}

export interface RuleDesk {
  /** Asked of one coordinator, once. @throws SkeinError the gateway's code, COORDINATOR_UNREACHABLE. */
  act(rule: string, device: string, act: RuleAct, signal: AbortSignal): Promise<ActOutcome>
}

export interface RulesComponents {
  readonly sessions: DeviceSessions
  readonly models: RuleModels
  readonly desk: RuleDesk
  readonly store: RuleStore
  /** Of what came of rules that did not act. Resolves when it is durable. */
  readonly tell: (reports: readonly RuleReport[]) => Promise<void>
  readonly clock: Clock
  readonly log: Logger
  readonly tally: Tally
}

const SWEEP_MS = 1000

interface Firing {
  readonly rule: Rule
  readonly session: SessionView
  /** Monotonic: after a while the reason is an old one. */
  readonly atMs: number
}

export class Rules implements BridgePart {
  readonly name = 'rules'
  readonly #parts: RulesComponents
  readonly #rules: readonly Rule[]
  readonly #outcomes: RuleOutcomes
  readonly #stop = new AbortController()
  /** Newest readings, by device and capability: what models are shown. */
  readonly #last = new Map<string, Map<string, LastReading>>()
  readonly #waiting: Firing[] = []
  readonly #running = new Set<Promise<void>>()
  #states: RuleStates = new Map()
  #cancels: Cancel[] = []
  #cancelSweep: CancelTimer | undefined
  #sinceMs = 0

  constructor(components: RulesComponents, rules: readonly Rule[]) {
    this.#parts = { ...components, log: components.log.scope('rules') }
    this.#rules = rules
    this.#outcomes = new RuleOutcomes(components)
  }

  /** @throws SkeinError DATA_DIR_UNUSABLE. */
  async start(): Promise<void> {
    const { sessions, store, clock } = this.#parts
    this.#states = await store.load()
    this.#sinceMs = clock.wallMs()
    this.#cancels = [
      sessions.onReadings((session, readings) => {
        for (const reading of readings) this.#take(session, reading)
      }),
      sessions.onPresence((session, change) => {
        if (change === 'gone') this.#forget(session.id)
      }),
    ]
    if (this.#rules.some(({ when }) => when.every !== undefined)) this.#sweep()
  }

  async stop(): Promise<void> {
    for (const cancel of this.#cancels.splice(0)) cancel()
    this.#cancelSweep?.()
    this.#waiting.length = 0
    this.#stop.abort(new SkeinError('SHUTTING_DOWN', 'the bridge stops'))
    await Promise.all(this.#running)
    await this.#outcomes.flush()
  }

  #take(session: SessionView, { name, value, atMs }: Reading): void {
    const last = this.#last.get(session.id) ?? new Map<string, LastReading>()
    this.#last.set(session.id, last.set(name, { value, atMs }))
    for (const rule of this.#rules) {
      if (rule.when.capability !== name || (rule.device ?? session.id) !== session.id) continue
      const before = this.#stateOf(rule, session.id)
      const { state, isMet } = afterReading(rule, before, value)
      if (isMet) this.#met(rule, session, state)
      else if (state !== before) {
        this.#keep(rule, session.id, state).catch(() => this.#outcomes.count(rule.name, session.id, 'not_recorded'))
      }
    }
  }

  #sweep(): void {
    const { clock, sessions } = this.#parts
    for (const rule of this.#rules) {
      const session = rule.device === undefined ? undefined : sessions.session(rule.device)
      const state = this.#stateOf(rule, rule.device ?? '')
      const nowMs = clock.wallMs()
      // one that is held back is due until it is not
      const isFree = isDue(rule, state, this.#sinceMs, nowMs) && heldBack(rule, state, nowMs) === undefined
      if (session && isFree) this.#met(rule, session, state)
    }
    this.#cancelSweep = clock.timer(SWEEP_MS, () => this.#sweep())
  }

  #stateOf({ name }: Rule, device: string): RuleState {
    return this.#states.get(name)?.get(device) ?? NEW_STATE
  }

  #keep({ name }: Rule, device: string, state: RuleState): Promise<void> {
    const ofRule = this.#states.get(name) ?? new Map<string, RuleState>()
    this.#states.set(name, ofRule.set(device, state))
    return this.#parts.store.put(name, device, state)
  }

  #forget(device: string): void {
    this.#last.delete(device)
    for (const ofRule of this.#states.values()) ofRule.delete(device)
    this.#parts.store.forget(device).catch(() => this.#parts.tally.count('rule_not_recorded'))
  }

  #met(rule: Rule, session: SessionView, state: RuleState): void {
    const { clock, log } = this.#parts
    const came = (outcome: RuleOutcome): void => this.#outcomes.count(rule.name, session.id, outcome)
    const nowMs = clock.wallMs()
    // who may not be read is not read by rules either
    const held = session.policy.read ? heldBack(rule, state, nowMs) : 'not_permitted'
    const kept = this.#keep(rule, session.id, held === undefined ? fired(rule, state, nowMs) : state)
    if (held !== undefined) {
      came(held)
      kept.catch(() => came('not_recorded'))
      return
    }
    const firing = { rule, session, atMs: clock.nowMs() }
    kept.then(
      () => this.#enqueue(firing),
      (error: unknown) => {
        // not known to be durable, hence not done: another start might do it again
        came('not_recorded')
        log.warn({ err: error, rule: rule.name, device: session.id }, 'a rule did nothing: it could not be recorded')
      },
    )
  }

  #enqueue(firing: Firing): void {
    if (this.#stop.signal.aborted) return
    if (this.#waiting.length >= LIMITS.rulesWaitingMax)
      return this.#outcomes.count(firing.rule.name, firing.session.id, 'busy')
    this.#waiting.push(firing)
    this.#pump()
  }

  #pump(): void {
    while (this.#running.size < LIMITS.rulesRunningMax) {
      const firing = this.#waiting.shift()
      if (firing === undefined) return
      const run = this.#run(firing).finally(() => {
        this.#running.delete(run)
        this.#pump()
      })
      this.#running.add(run)
    }
  }

  /** Does not throw. */
  async #run({ rule, session, atMs }: Firing): Promise<void> {
    const { clock, log } = this.#parts
    const about = { rule: rule.name, device: session.id }
    const late = (): SkeinError => new SkeinError('TASK_EXPIRED', 'the reason of the rule is an old one by now')
    const leftMs = LIMITS.ruleMs - (clock.nowMs() - atMs)
    try {
      const answer = await withDeadline(clock, leftMs, late, this.#stop.signal, (signal) =>
        this.#answer(rule, session, signal),
      )
      const acts = rule.act.filter(({ on = 'yes' }) => answer === undefined || on === answer)
      log.info({ ...about, ...(answer !== undefined && { answer }), acts: acts.length }, 'a rule is met')
      if (acts.length === 0) this.#outcomes.count(rule.name, session.id, 'declined')
      for (const act of acts) await this.#act(rule, session.id, act)
    } catch (thrown) {
      if (this.#stop.signal.aborted) return
      this.#outcomes.count(rule.name, session.id, 'not_asked')
      log.warn({ ...about, err: thrown }, 'a rule did nothing: its model did not answer')
    }
  }

  #answer({ ask }: Rule, session: SessionView, signal: AbortSignal): Promise<string | undefined> {
    if (ask === undefined) return Promise.resolve(undefined)
    const { clock, models } = this.#parts
    const { id, descriptor, policy } = session
    const question = questionOf(ask, id, this.#last.get(id) ?? new Map(), descriptor.capabilities, clock.wallMs())
    return models.decide(id, question, policy.local_only, signal)
  }

  async #act({ name: rule }: Rule, about: string, act: RuleAct): Promise<void> {
    const { desk, log, tally } = this.#parts
    const device = act.device ?? about
    const told = { rule, device, capability: act.capability }
    try {
      const outcome = await desk.act(rule, device, act, this.#stop.signal)
      tally.count(`rule_${outcome}`)
      log.info({ ...told, outcome }, 'a rule has acted')
    } catch (thrown) {
      const error = asSkeinError(thrown, 'COORDINATOR_UNREACHABLE')
      this.#outcomes.count(rule, about, error.code === 'FORBIDDEN' ? 'forbidden' : 'not_acted')
      log.warn({ ...told, err: error }, 'what a rule wanted was not done, or nobody knows')
    }
  }
}
