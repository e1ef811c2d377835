/** What the gateway counts since its start. Plain numbers: who publishes them reads them. */
export interface GatewayCounters {
  /** Requests of every kind, refused ones included. */
  requests: number
  /** Tasks given to the mesh. */
  tasks: number
  /** Clients that hung up before their answer was whole. */
  clientsClosed: number
  /** Clients that were cut because they did not read. */
  clientsStalled: number
  /** Bytes that are no HTTP, headers over the limit, and requests that took too long to arrive. */
  protocolErrors: number
  /** Connections over `connectionsMax`, closed at once. */
  connectionsRefused: number
}

export const createCounters = (): GatewayCounters => ({
  requests: 0,
  tasks: 0,
  clientsClosed: 0,
  clientsStalled: 0,
  protocolErrors: 0,
  connectionsRefused: 0,
})
