/** The HTTP edge of the coordinator: OpenAI's API and the mesh API, and nothing of how answers are made. */
export { createGateway, type Gateway, type GatewayComponents, type GatewayInit } from './gateway.ts'
export { GATEWAY_LIMITS, type GatewayLimits } from './limits.ts'
export type { GatewayCounters } from './counters.ts'
export type { IssuedKeyView, KeyView, UsageView } from './access-routes.ts'
export type { AttemptExplanation, TaskExplanation } from './mesh-routes.ts'
