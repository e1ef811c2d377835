/** The ledger: what is true of tasks, whatever crashes. */
export * from './access.ts'
export * from './batches.ts'
export {
  AT_LIMIT,
  type AtLimit,
  type BilledSum,
  type BudgetEvent,
  type BudgetTerms,
  type LeaseCharge,
} from './budgets.ts'
export * from './events.ts'
export * from './leases.ts'
export * from './ledger.ts'
export * from './state.ts'
export {
  USAGE_AXES,
  USAGE_DAY_MS,
  wholeCount,
  type UsageAxis,
  type UsageQuery,
  type UsageRow,
  type UsageSum,
} from './usage.ts'
export { openLedger, type LedgerComponents, type LedgerInit } from './sqlite/sqlite-ledger.ts'
export {
  LEDGER_FILE,
  restoreBackup,
  writeBackup,
  type BackupContent,
  type BackupFile,
  type BackupSource,
} from './sqlite/archive.ts'
export { MemoryLedger, type MemoryLedgerInit } from './memory-ledger.ts'
