/** The invariants by their names (`docs/SIMULATION.md`). */
import { endChecker, orderChecker, resultChecker, usageChecker } from './answers.ts'
import {
  attachChecker,
  boundChecker,
  fenceChecker,
  localityChecker,
  moneyChecker,
  patienceChecker,
} from './attempts.ts'
import type { Checker, Fail } from './checker.ts'
import { durabilityChecker, lifeChecker } from './records.ts'
import { orderedChecker } from './replicas.ts'
import type { Scenario } from '../scenario.ts'

export type { Checker } from './checker.ts'

export const INVARIANTS = ['I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'I8', 'I9', 'I10', 'I11'] as const
export type Invariant = (typeof INVARIANTS)[number]

export function createCheckers(
  { nodes, ...money }: Pick<Scenario, 'nodes' | 'budgetMicros' | 'tenantMicros'>,
  failAs: (invariant: Invariant) => Fail,
  nowMs: () => number,
): Checker[] {
  return [
    fenceChecker(failAs('I1')),
    orderChecker(failAs('I2'), nodes),
    attachChecker(failAs('I2'), nodes),
    durabilityChecker(failAs('I3')),
    endChecker(failAs('I4')),
    patienceChecker(failAs('I4'), nowMs),
    resultChecker(failAs('I5'), nowMs),
    localityChecker(failAs('I6'), nodes),
    moneyChecker(failAs('I7'), nodes, money),
    boundChecker(failAs('I8')),
    lifeChecker(failAs('I9')),
    usageChecker(failAs('I10')),
    orderedChecker(failAs('I11'), nodes, nowMs),
  ]
}
