/** Rules of the owner's: when readings say so, a device is set, after a model was asked where the rule wants that. */
export { dryRun, type DryRunInit, type DryRunRow, type RecordedReading } from './dry-run.ts'
export type { RuleQuestion } from './question.ts'
export { parseRules, readRules, type Rule, type RuleAct } from './rules-file.ts'
export { RULES_SCHEMA, SqlRuleStore, type RuleStore } from './rule-store.ts'
export { NEW_STATE, type RuleState } from './rule-state.ts'
export { Rules, type ActOutcome, type RuleDesk, type RuleModels, type RulesComponents } from './rules.ts'
