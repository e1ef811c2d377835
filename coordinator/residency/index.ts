/** Which nodes have which model in memory, as far as the coordinator has a say: replicas on demand and before peaks. */
export {
  Replicas,
  type ProfileStore,
  type ReplicaMode,
  type ReplicasComponents,
  type ReplicaStats,
  type ReplicaView,
} from './replicas.ts'
export type { ExpectedWork } from './demand.ts'
export type { ReplicaCause, ReplicaOrder, ReplicaState } from './orders.ts'
