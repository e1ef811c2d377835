/** The node agent, as the composition root starts it. */
export { createNodeAgent } from './node-agent.ts'
export { inspectUpstream, type InspectedServer, type UpstreamModelsInit } from '../models/index.ts'
export type { ModelStatus, NodeAgent, NodeAgentComponents, NodeAgentInit, NodeStatus } from './types.ts'
