/** The coordinator: takes requests, assigns each to the best node, and moves running answers when a node leaves. */
export { createCoordinator, type Coordinator, type CoordinatorComponents } from './coordinator.ts'
export { BATCH_ENDPOINTS, Batches, type BatchEndpoint } from './batches/index.ts'
export { Access, JwtBook, newSecret, ownersOf, readJwtSettings } from './access/index.ts'
export {
  createGateway,
  type AttemptExplanation,
  type BatchView,
  type CacheView,
  type DeviceCallView,
  type DeviceReadingView,
  type DeviceTaskCallView,
  type DeviceTaskView,
  type DeviceView,
  type EventView,
  type Gateway,
  type GatewayComponents,
  type IssuedKeyView,
  type KeyView,
  type ModelAdministration,
  type LeaseDesk,
  type LeaseView,
  type NamedBudget,
  type PulledModel,
  type PullProgress,
  standingOf,
  type TaskExplanation,
  type UsageView,
} from './gateway/index.ts'
export { Devices, openDeviceStore } from './devices/index.ts'
export { Mailboxes } from './mailbox/index.ts'
export { createMetrics, type MetricsComponents } from './metrics/index.ts'
export { createTraces, type TracesComponents, type TracesInit } from './traces/index.ts'
export {
  CLOUD_FILE,
  CloudSettingsSource,
  createProvider,
  readCloudSettings,
  type CloudSettings,
  type EndpointSettings,
  type FleetSettings,
  type Provider,
} from './cloud/index.ts'
export { PriceBook, shippedPrices, withOwnPrices, type CostsInit, type PriceTable } from './pricing/index.ts'
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
export {
  AUTHORITY_FILES,
  createAuthority,
  FileTlsSource,
  LocalTlsSource,
  permittedOf,
  readAuthority,
  type Authority,
  type CertificateFiles,
  type TlsSource,
} from './trust/index.ts'
