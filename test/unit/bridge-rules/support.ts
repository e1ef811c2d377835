/** Rules with everything around them played: devices, a model, the coordinator's desk, a store in memory. */
import type { RuleReport, SkeinError } from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'
import { Counts } from '../../../firmware-bridge/counts.ts'
import {
  parseRules,
  Rules,
  type ActOutcome,
  type RuleAct,
  type RuleQuestion,
  type RuleState,
  type RuleStore,
} from '../../../firmware-bridge/rules/index.ts'
import { sessionOf, SessionsTwin } from '../bridge-asks/support.ts'

export class MemoryRuleStore implements RuleStore {
  readonly states = new Map<string, Map<string, RuleState>>()
  failure: SkeinError | undefined

  load(): Promise<Map<string, Map<string, RuleState>>> {
    return Promise.resolve(structuredClone(this.states))
  }

  put(rule: string, device: string, state: RuleState): Promise<void> {
    if (this.failure) return Promise.reject(this.failure)
    this.states.set(rule, new Map(this.states.get(rule)).set(device, structuredClone(state)))
    return Promise.resolve()
  }

  forget(device: string): Promise<void> {
    for (const ofRule of this.states.values()) ofRule.delete(device)
    return Promise.resolve()
  }
}

export interface RuleBench {
  readonly clock: ManualClock
  readonly sessions: SessionsTwin
  readonly store: MemoryRuleStore
  readonly counts: Counts
  readonly rules: Rules
  /** What came of rules that did not act: rule, device, outcome and times. */
  readonly told: string[]
  readonly acts: { readonly rule: string; readonly device: string; readonly act: RuleAct }[]
  readonly questions: RuleQuestion[]
  /** What the model answers, and the desk; an error is thrown. A model without an answer never answers. */
  readonly says: { answer: string | SkeinError | undefined; outcome: ActOutcome | SkeinError }
  reads(name: string, ...values: (number | string | boolean)[]): Promise<void>
  settle(): Promise<void>
  /** Another start of the bridge over the same store. */
  restart(): Promise<RuleBench>
}

export async function ruling(
  toml: string,
  store = new MemoryRuleStore(),
  clock = new ManualClock(),
): Promise<RuleBench> {
  const sessions = new SessionsTwin()
  const counts = new Counts()
  const acts: RuleBench['acts'] = []
  const questions: RuleQuestion[] = []
  const says: RuleBench['says'] = { answer: 'yes', outcome: 'done' }
  const models = {
    decide: (_device: string, question: RuleQuestion, _localOnly: boolean, signal: AbortSignal): Promise<string> => {
      questions.push(question)
      if (typeof says.answer === 'string') return Promise.resolve(says.answer)
      if (says.answer !== undefined) return Promise.reject(says.answer)
      return new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    },
  }
  const told: string[] = []
  const tell = (reports: readonly RuleReport[]): Promise<void> => {
    told.push(...reports.map(({ rule, device, outcome, times }) => `${rule} ${device} ${outcome} ${times}`))
    return Promise.resolve()
  }
  const desk = {
    act: (rule: string, device: string, act: RuleAct): Promise<ActOutcome> => {
      acts.push({ rule, device, act })
      return typeof says.outcome === 'string' ? Promise.resolve(says.outcome) : Promise.reject(says.outcome)
    },
  }
  const parts = { sessions, models, desk, tell, store, clock, log: silentLogger, tally: counts }
  const rules = new Rules(parts, parseRules(toml, 'rules.toml'))
  await rules.start()
  sessions.join(sessionOf('uno'))
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < 10; turn++) await clock.advance(0)
  }
  return {
    ...{ clock, sessions, store, counts, rules, told, acts, questions, says, settle },
    reads: async (name, ...values) => {
      for (const value of values) {
        sessions.readsAt(clock.wallMs(), 'uno', name, value)
        await settle()
      }
    },
    restart: async () => {
      await rules.stop()
      return ruling(toml, store, clock)
    },
  }
}
