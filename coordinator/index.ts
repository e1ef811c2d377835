/** The coordinator: takes requests, assigns each to the best node, and moves running answers when a node leaves. */
export { createCoordinator, type Coordinator, type CoordinatorComponents } from './coordinator.ts'
export { Access, newSecret, ownersOf } from './access/index.ts'
export {
  createGateway,
  type AttemptExplanation,
  type Gateway,
  type IssuedKeyView,
  type KeyView,
  type TaskExplanation,
  type UsageView,
} from './gateway/index.ts'
export type * from './admission/index.ts'
export type { ProfileStore, ReplicaMode } from './residency/index.ts'
export {
  LEDGER_FILE,
  openLedger,
  restoreBackup,
  writeBackup,
  type BackupContent,
  type BackupFile,
  type Ledger,
} from './ledger/index.ts'
