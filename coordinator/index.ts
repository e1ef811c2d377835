/** The coordinator: takes requests, assigns each to the best node, and moves running answers when a node leaves. */
export { createCoordinator, type Coordinator, type CoordinatorComponents } from './coordinator.ts'
export { createGateway, type Gateway } from './gateway/index.ts'
export type * from './admission/index.ts'
