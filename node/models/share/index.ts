/** Models between members: what a node gives, and how it is fetched. `docs/MODELS.md` has the whole. */
export type { Asker, Grant } from './asker.ts'
export { LocalDoor, type DoorAddress } from './door.ts'
export { DoorAsker } from './door-asker.ts'
export { MeshAsker } from './mesh-asker.ts'
export { MeshMembers } from './mesh-members.ts'
export { createModelShare, type ModelShare, type ModelShareComponents, type ModelShareInit } from './share.ts'
export type { SharedModel, Shelf } from './shared-files.ts'
