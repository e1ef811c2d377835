/** Models on this machine: found, identified, and kept resident. */
export { Digests, type FileDigest } from './digests.ts'
export { Inventory, type InventoryComponents, type ModelFile, type ModelProblem } from './inventory.ts'
export { adaptedDigest, checkAdapter, type AdaptedModel, type GgufHead } from './adapters.ts'
export { ModelHost, type ModelHostComponents, type ModelHostInit, type Slot } from './model-host.ts'
export { ModelSet, type ModelSetComponents, type ModelSetInit } from './model-set.ts'
export {
  inspectUpstream,
  UpstreamModels,
  type InspectedServer,
  type StoodFor,
  type UpstreamModelsComponents,
  type UpstreamModelsInit,
} from './upstream-models.ts'
export { defaultModels, storeDir, type ModelParts } from './store/index.ts'
export type { EnergyOfModel } from './speed-keeper.ts'
