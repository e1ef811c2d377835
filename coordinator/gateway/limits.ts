/**
 * Bounds of the HTTP edge. Those that other parts share stand in `LIMITS`; the rest concern nobody but the gateway. Tests
 * lower them through `GatewayInit.limits`.
 */
import { LIMITS } from '../../mesh/protocol/index.ts'

export interface GatewayLimits {
  /** A stream's HTTP headers wait this long for an attempt to begin, so that an early failure has its own status. */
  readonly headersHoldMs: number
  /** A stream that was silent for this long gets a comment, so that proxies do not take it for dead. */
  readonly keepaliveMs: number
  /** A client that takes nothing for this long while text waits is cut. */
  readonly clientStallMs: number
  /** Text that may wait for a client which does not read; above it the client is cut. */
  readonly clientBacklogBytesMax: number
  readonly bodyBytesMax: number
  readonly headerBytesMax: number
  readonly connectionsMax: number
  /** From the first byte of a request to the end of its headers. */
  readonly headersMs: number
  /** From the first byte of a request to the end of its body. */
  readonly requestMs: number
  /** An idle connection is kept this long for the next request. */
  readonly idleConnectionMs: number
  /** `stop` gives the answers that it ends this long to tell their clients why. */
  readonly farewellMs: number
}

export const GATEWAY_LIMITS: GatewayLimits = {
  headersHoldMs: 2000,
  keepaliveMs: 10_000,
  clientStallMs: LIMITS.clientStallMs,
  clientBacklogBytesMax: LIMITS.clientBacklogBytesMax,
  bodyBytesMax: LIMITS.httpBodyBytesMax,
  headerBytesMax: LIMITS.httpHeaderBytesMax,
  connectionsMax: LIMITS.httpConnectionsMax,
  headersMs: 10_000,
  requestMs: 30_000,
  // longer than the 60 s of common proxies, which would otherwise reuse a connection that we are closing
  idleConnectionMs: 75_000,
  farewellMs: 1000,
}

/** Text that is merged into one chunk, in UTF-16 units: small enough that a slow reader shows progress between two. */
export const CHUNK_UNITS_MAX = 16 * 1024

/** Status comments that wait for a stalled client; older ones are of no use to anybody. */
export const COMMENTS_MAX = 8

/** Memory for an answer that is not streamed: more than `generatedTokensMax` tokens of any vocabulary we know need. */
export const WHOLE_ANSWER_BYTES_MAX = 32 * 1024 * 1024

/** What one token with its log probability counts for: an object, its bytes, and a line of JSON. */
export const LOGPROB_BYTES = 128

/** What the ledger keeps for the gateway with each task, as `TaskRequest.shape` says. */
export const SHAPE_BYTES_MAX = 64 * 1024

/** Earlier responses whose items one request may name by their ids; each is a read of the ledger. */
export const REFERENCED_RESPONSES_MAX = 64

/** The rest of a body that was refused is read away up to here, since closing on unread bytes resets the connection. */
export const DISCARD_BYTES_MAX = 32 * 1024 * 1024

/** Longest segment of a path that is looked at: a peer id, a name or a digest. */
export const PATH_SEGMENT_MAX = 256
