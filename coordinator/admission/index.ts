/** What may enter the coordinator, and what the gateway may ask of it. */
export * from './service.ts'
export { Observers, type MeshEvent } from './observers.ts'
export { readingsOf } from './resolve.ts'
export { CoordinatorService, type Membership, type MeshServiceComponents } from './mesh-service.ts'
