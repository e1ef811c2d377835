/**
 * The model store: models of this machine by their content, and where they come from. `docs/MODELS.md` has the whole.
 */
export { BUNDLED_CHAT_MODEL } from './bundled.ts'
export { systemDisk, type Disk, type KeepFree, type PartHandle } from './disk.ts'
export type { Http, HttpResponse } from './http.ts'
export { hubOf, type HubInit } from './hub-source.ts'
export type { StoredModel } from './index-file.ts'
export { defaultModels, isPath, ModelStore, notStored, type UnfinishedModel } from './model-store.ts'
export { pull, type Pulled, type PullComponents, type PullEvent, type PullInit } from './pull.ts'
export { isHubReference, parseReference, printable } from './reference.ts'
