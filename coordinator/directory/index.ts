/** Who is in the mesh, what they can do and what they do now. */
export { Directory, type DirectoryEvents, type Reservation } from './directory.ts'
export { NodeEntry } from './node-entry.ts'
export { ControlServer, type ControlServerComponents } from './control-server.ts'
export { DhtFeed, type DhtFeedComponents } from './dht-feed.ts'
