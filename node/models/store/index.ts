/**
 * The model store: models of this machine by their content, and where they come from. `docs/MODELS.md` has the whole.
 */
export { BUNDLED_CHAT_MODEL, BUNDLED_MODELS, BUNDLED_ONNX_MODELS } from './bundled.ts'
export { BufferPool } from './buffer-pool.ts'
export { systemDisk, type Disk, type KeepFree, type PartHandle } from './disk.ts'
export type { Http, HttpResponse } from './http.ts'
export { findModels, programDirs, type FoundModel, type ProgramDirs } from './found.ts'
export { HashThread, type Hashing } from './hash-thread.ts'
export { hubOf, type HubInit } from './hub-source.ts'
export { FileIdentitySchema, identityOf, isSameFile, type FileIdentity } from './identity.ts'
export { hashedFile, type StoredModel } from './index-file.ts'
export {
  adaptedManifest,
  MANIFEST_FILE,
  manifestDigest,
  manifestText,
  onnxManifest,
  parseManifest,
  readManifest,
  type Manifest,
  type ModelParts,
  type PartFile,
} from './manifest.ts'
export type { MemberEvent, MemberShare } from './member-file.ts'
export type { Holder, MemberOffer, Members } from './members.ts'
export { defaultModels, isPath, ModelStore, notStored, storeDir, type UnfinishedModel } from './model-store.ts'
export { isGraph, isOnnxPath, nameOfGraph } from './onnx-files.ts'
export { pull, type Pulled, type PullComponents, type PullEvent, type PullInit } from './pull.ts'
export { isDigest, isModelName, isReference, parseReference, printable } from './reference.ts'
