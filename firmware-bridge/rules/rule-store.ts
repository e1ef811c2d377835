/** What rules know of devices, on the disk: what was begun once is not begun again by another start of the bridge. */
import type { Database, SchemaPart } from '../ports/index.ts'
import { NEW_STATE, type RuleState } from './rule-state.ts'

/** By rule, then by device. */
export type RuleStates = Map<string, Map<string, RuleState>>

export interface RuleStore {
  load(): Promise<RuleStates>
  /** Settles when it is durable. @throws SkeinError DISK_FULL, DATA_DIR_UNUSABLE. */
  put(rule: string, device: string, state: RuleState): Promise<void>
  /** Nothing is known of `device` any more. */
  forget(device: string): Promise<void>
}

export const RULES_SCHEMA: SchemaPart = {
  part: 'rules',
  steps: [
    `CREATE TABLE rules (
       rule TEXT NOT NULL, device TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY (rule, device)) STRICT, WITHOUT ROWID;`,
  ],
}

export class SqlRuleStore implements RuleStore {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  async load(): Promise<RuleStates> {
    const states: RuleStates = new Map()
    for (const { rule, device, state } of await this.#database.read('SELECT rule, device, state FROM rules')) {
      const ofRule = states.get(String(rule)) ?? new Map<string, RuleState>()
      ofRule.set(String(device), { ...NEW_STATE, ...(JSON.parse(String(state)) as RuleState) })
      states.set(String(rule), ofRule)
    }
    return states
  }

  async put(rule: string, device: string, state: RuleState): Promise<void> {
    await this.#database.write([['INSERT OR REPLACE INTO rules VALUES (?, ?, ?)', rule, device, JSON.stringify(state)]])
  }

  async forget(device: string): Promise<void> {
    await this.#database.write([['DELETE FROM rules WHERE device = ?', device]])
  }
}
