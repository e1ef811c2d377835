/** Who is in the mesh, what they can do and what they do now. */
export {
  Directory,
  type DirectoryEvents,
  type HeldAttempt,
  type HeldReport,
  type NodeChange,
  type Reservation,
} from './directory.ts'
export { LinkState, type LinkView } from './link-state.ts'
export { NodeEntry, type NodeAttempt } from './node-entry.ts'
export type { ExpectedTokens } from './model-state.ts'
export type { RateSample } from './rates.ts'
export { ControlServer, type ControlServerComponents } from './control-server.ts'
export { DhtFeed, type DhtFeedComponents } from './dht-feed.ts'
