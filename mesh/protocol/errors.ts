/**
 * The registry of errors. A code is stable; its row says which HTTP status it becomes, whether the same call may succeed
 * later, who is to blame and with which exit code the command line ends. `docs/ERRORS.md` lists the same rows; a test
 * holds the two together. Nothing of ours throws a bare `Error` (lint).
 */

/** `caller`: mend the request · `node`: another node may succeed · `mesh`: no node can now · `owner`: this machine's setup. */
export type Blame = 'caller' | 'node' | 'mesh' | 'owner'

export interface ErrorRow {
  readonly http: number
  readonly retryable: boolean
  readonly blame: Blame
  /** Exit code of the command line: 1 failure, 2 usage, 3 no node can serve it, 4 refused by policy. */
  readonly exit: 1 | 2 | 3 | 4
  readonly meaning: string
}

const row = (http: number, retryable: boolean, blame: Blame, exit: ErrorRow['exit'], meaning: string): ErrorRow => ({
  http,
  retryable,
  blame,
  exit,
  meaning,
})

export const ERRORS = {
  // The request
  INVALID_JSON: row(400, false, 'caller', 2, 'The body is not JSON, not UTF-8, or nested too deep.'),
  INVALID_REQUEST: row(
    400,
    false,
    'caller',
    2,
    'A field is missing, of the wrong type or out of range; `param` names it.',
  ),
  UNSUPPORTED_PARAMETER: row(
    400,
    false,
    'caller',
    2,
    'The field is known and its value is not supported yet; `param` names it.',
  ),
  CONTEXT_LENGTH_EXCEEDED: row(
    400,
    false,
    'caller',
    2,
    'Prompt and requested tokens exceed the context of every node that has the model.',
  ),
  UNAUTHENTICATED: row(401, false, 'caller', 4, 'The key or token is missing or wrong.'),
  FORBIDDEN: row(403, false, 'caller', 4, 'The caller may not do this, or the Host or Origin header is not ours.'),
  MODEL_NOT_FOUND: row(404, false, 'caller', 3, 'No member of the mesh has a model of that name or digest.'),
  NOT_FOUND: row(404, false, 'caller', 2, 'There is nothing at that address.'),
  METHOD_NOT_ALLOWED: row(405, false, 'caller', 2, 'The address exists and does not take this method.'),
  BODY_TOO_LARGE: row(
    413,
    false,
    'caller',
    2,
    'The body is over `httpBodyBytesMax`, or a file over `batchFileBytesMax`.',
  ),
  UNSUPPORTED_MEDIA_TYPE: row(415, false, 'caller', 2, 'The body is not `application/json`.'),
  IDEMPOTENCY_MISMATCH: row(422, false, 'caller', 2, 'The Idempotency-Key was used before with another body.'),
  ANSWER_DIVERGED: row(
    409,
    false,
    'mesh',
    1,
    'What the client holds behind the named place was lost with its node and coordinator; read the answer from its start.',
  ),
  BUDGET_EXCEEDED: row(402, true, 'owner', 4, 'Only a paid node could serve it, and the budget does not allow that.'),
  LOCAL_ONLY: row(
    503,
    true,
    'caller',
    4,
    "The request is marked local-only, and no device of the owner's can serve it.",
  ),
  CLOUD_NOT_ALLOWED: row(
    403,
    false,
    'caller',
    4,
    'The request asks for the cloud, and is marked local-only, or the policy of the owner does not let it leave.',
  ),
  REQUEST_TIMEOUT: row(408, true, 'caller', 1, 'The body did not arrive in time.'),
  CLIENT_CLOSED: row(499, false, 'caller', 1, 'The client hung up; its work was cancelled.'),
  CLIENT_STALLED: row(499, true, 'caller', 1, 'The client did not read its answer for `clientStallMs`.'),
  RATE_LIMITED: row(429, true, 'caller', 4, 'The key has had its requests or tokens of this minute.'),
  QUOTA_EXCEEDED: row(429, false, 'caller', 4, 'The key has had its tokens of this day (UTC).'),
  FILE_STORE_FULL: row(
    507,
    true,
    'owner',
    1,
    'There is no room for another file; delete some, or give files more room.',
  ),
  SYNC_MAILBOX_NOT_FOUND: row(404, false, 'caller', 2, 'There is no such mailbox, or the token is not its own.'),
  SYNC_CONFLICT: row(409, false, 'caller', 1, 'The device has sent another entry under that number already.'),
  SYNC_FULL: row(507, false, 'owner', 1, 'There is no room for the mailbox, its entry or its device.'),
  FILE_IN_USE: row(409, false, 'caller', 2, 'A batch that has not ended reads the file.'),
  BATCHES_FULL: row(429, true, 'caller', 1, 'Too many batches of the key, or in all, have not ended.'),
  KEY_NAME_TAKEN: row(409, false, 'caller', 2, 'There is a key of that name; rotate or revoke it, or choose another.'),
  BRIDGE_OFFLINE: row(503, true, 'owner', 1, 'No bridge of devices is connected, or not the one that is meant.'),
  PROVIDER_UNREACHABLE: row(
    503,
    true,
    'owner',
    1,
    'The keys of a provider of tokens cannot be had, to judge a token by.',
  ),
  CLOUD_NO_CAPACITY: row(503, true, 'owner', 3, 'The provider has no machine of that flavour now; none was launched.'),
  CLOUD_REFUSED: row(
    502,
    false,
    'owner',
    4,
    'The provider of machines refuses, and will until its owner changes something; the message says what it said.',
  ),
  CLOUD_UNAVAILABLE: row(
    503,
    true,
    'owner',
    1,
    'The provider of machines cannot be reached, is throttling, or gave no answer; what was asked may have been done.',
  ),
  DEVICE_CALL_FAILED: row(502, true, 'owner', 1, 'A call of a device was not done; the message says how it ended.'),
  HOPS_EXCEEDED: row(
    508,
    false,
    'caller',
    4,
    'The request has left more than `hopsMax` meshes, or comes back to one that it has left: they are endpoints of each other, in a circle.',
  ),
  // The mesh
  NO_ELIGIBLE_NODE: row(
    503,
    true,
    'mesh',
    3,
    'Nodes have the model, and none may take work now; the reasons are listed.',
  ),
  NO_NODE: row(503, true, 'mesh', 3, 'No node that can run a model is in the mesh.'),
  SATURATED: row(
    503,
    true,
    'mesh',
    3,
    'All slots are taken and the queue is full, or the wait for a slot was too long.',
  ),
  ATTEMPTS_EXHAUSTED: row(502, true, 'mesh', 3, 'Every attempt was lost or failed; the last cause is told.'),
  TASK_EXPIRED: row(504, true, 'mesh', 1, 'The task did not end within its deadline.'),
  NOT_CACHED: row(504, false, 'caller', 1, 'Only a kept answer was asked for, and there is none.'),
  DEADLINE_UNREACHABLE: row(429, true, 'mesh', 3, 'The predicted wait is longer than the deadline allows.'),
  PREEMPTED: row(503, true, 'mesh', 3, 'The slot was given to a task of a higher class; the answer goes on later.'),
  COORDINATOR_RESTARTED: row(
    503,
    true,
    'mesh',
    1,
    'The coordinator was restarted while the answer ran, and its client could not resume it.',
  ),
  LEDGER_UNAVAILABLE: row(503, true, 'owner', 1, 'The ledger cannot be written; the message says why (a full disk).'),
  SHUTTING_DOWN: row(503, true, 'mesh', 3, 'The coordinator is stopping.'),
  INTERNAL: row(500, true, 'mesh', 1, 'A defect of Skein; the log has the cause under the request id.'),
  // A node and its engine
  NODE_LOST: row(502, true, 'node', 3, 'The connection to the node closed, or its heartbeats stopped.'),
  NODE_DRAINING: row(503, true, 'node', 3, 'The node takes no new work.'),
  NOT_SERVED: row(
    503,
    true,
    'node',
    4,
    "The policy of the node's owner does not serve this coordinator, or this tenant.",
  ),
  ATTEMPT_STALLED: row(502, true, 'node', 3, 'The node made no progress within the interval that the error names.'),
  NO_FREE_SLOT: row(503, true, 'node', 3, 'The node has no free slot; the coordinator knew an older load.'),
  ATTEMPT_NOT_HELD: row(
    503,
    true,
    'node',
    3,
    'The node does not hold the attempt that the coordinator would go on with.',
  ),
  NOT_CONTINUABLE: row(
    502,
    false,
    'node',
    3,
    'The answer was begun, and cannot go on where it could be made: it is held to a format, tells log probabilities or calls tools, or its text cannot be gone on with.',
  ),
  STALE_FENCING_TOKEN: row(502, false, 'node', 1, 'The attempt was superseded; its frames are dropped.'),
  ENGINE_CRASHED: row(
    502,
    true,
    'node',
    3,
    'The engine process, or the server in its place, is gone; its attempts are lost, the agent lives.',
  ),
  ENGINE_FAILED: row(502, true, 'node', 3, 'The engine reported an error.'),
  MODEL_FILE_INVALID: row(
    502,
    false,
    'node',
    1,
    'The model file is missing, truncated or no model; the message names it.',
  ),
  MODEL_LOAD_FAILED: row(
    502,
    false,
    'node',
    1,
    'The engine could not load the model, for memory or an unknown architecture.',
  ),
  // The model store
  MODEL_REFERENCE_INVALID: row(
    400,
    false,
    'caller',
    2,
    'What names a model is malformed or fits several files; the message lists what there is.',
  ),
  MODEL_NOT_STORED: row(404, false, 'caller', 2, 'The model store has no model of that name, digest or reference.'),
  MODEL_NAME_TAKEN: row(409, false, 'caller', 2, 'The model store has another model of that name; give one (--name).'),
  MODEL_IN_USE: row(409, false, 'owner', 4, 'A running node serves the model; stop it first, or use --force.'),
  MODEL_PULL_FAILED: row(
    502,
    true,
    'owner',
    1,
    'The source of a model cannot be reached, broke off or is busy; what came is kept, and pulling again goes on there.',
  ),
  MODEL_SOURCE_REFUSED: row(
    502,
    false,
    'owner',
    1,
    'The source does not have the model, does not give it to this caller, or may not be asked.',
  ),
  MODEL_SOURCE_CHANGED: row(
    409,
    true,
    'owner',
    1,
    'The file at the source changed while it was pulled; what came is thrown away.',
  ),
  MODEL_DIGEST_MISMATCH: row(
    502,
    false,
    'owner',
    1,
    'The bytes are not those that were promised; they are thrown away, and the source is named.',
  ),
  DISK_FULL: row(507, true, 'owner', 1, 'The disk has too little room for a model; what came is kept.'),
  // Streams and frames
  FRAME_MALFORMED: row(502, false, 'node', 1, 'Bytes that are no frame of this protocol.'),
  FRAME_TOO_LARGE: row(502, false, 'node', 1, 'A frame announced more bytes than its protocol allows.'),
  FRAME_UNEXPECTED: row(502, false, 'node', 1, 'A frame that is not legal in this state.'),
  STREAM_TRUNCATED: row(502, true, 'node', 3, 'The stream ended without its final frame.'),
  STREAM_TIMEOUT: row(504, true, 'node', 3, 'The peer sent nothing in time.'),
  VERSION_MISMATCH: row(
    502,
    false,
    'owner',
    1,
    'The peer speaks another version of the protocol; update the older one.',
  ),
  // Membership
  NOT_A_MEMBER: row(403, false, 'owner', 4, 'The peer has shown no certificate of this mesh.'),
  WRONG_MESH: row(403, false, 'owner', 4, 'The certificate or invite belongs to another mesh.'),
  CERTIFICATE_INVALID: row(
    403,
    false,
    'owner',
    4,
    'The certificate is malformed, names another peer, or its signature is wrong.',
  ),
  CERTIFICATE_EXPIRED: row(403, false, 'owner', 4, 'The certificate is over; join again with a new invite.'),
  CERTIFICATE_REVOKED: row(403, false, 'owner', 4, 'The owner has revoked this member.'),
  INVITE_INVALID: row(403, false, 'caller', 4, 'The invite or pairing code is malformed, unknown, expired or used up.'),
  NOT_THE_AUTHORITY: row(409, false, 'owner', 1, 'This coordinator does not hold the mesh key; ask the one that does.'),
  MEMBER_NOT_FOUND: row(404, false, 'caller', 2, 'No member of that name or peer id is known.'),
  // This machine
  USAGE: row(400, false, 'caller', 2, 'The command line is wrong; `--help` shows it.'),
  CONFIG_INVALID: row(500, false, 'owner', 2, 'A setting is wrong; the message names it and where it came from.'),
  DATA_DIR_LOCKED: row(500, false, 'owner', 1, 'Another Skein runs in this data directory.'),
  DATA_DIR_UNUSABLE: row(500, false, 'owner', 1, 'The data directory cannot be made, read or written.'),
  LEDGER_CORRUPT: row(
    500,
    false,
    'owner',
    1,
    'The ledger is damaged or of a newer Skein; restore a backup, or update.',
  ),
  BACKUP_INVALID: row(
    400,
    false,
    'owner',
    2,
    'The file is no backup, is damaged, or does not match what it says of itself.',
  ),
  SERVICE_UNSUPPORTED: row(
    500,
    false,
    'owner',
    1,
    'Skein cannot be a service here; the message says why, and what to do.',
  ),
  SERVICE_FAILED: row(
    500,
    false,
    'owner',
    1,
    'A step of installing or removing a service failed; the message names it.',
  ),
  SERVICE_NOT_INSTALLED: row(404, false, 'owner', 1, 'Skein has installed no service of that name.'),
  TRUST_STORE_FAILED: row(
    500,
    false,
    'owner',
    1,
    "The system's trusted authorities could not be changed; the message names the step.",
  ),
  PORT_IN_USE: row(500, false, 'owner', 1, 'Another program listens on that address.'),
  LISTEN_FAILED: row(500, false, 'owner', 1, 'The address cannot be listened on.'),
  COORDINATOR_UNREACHABLE: row(502, true, 'owner', 1, 'No coordinator answers at that address.'),
  DIAL_FAILED: row(502, true, 'owner', 1, 'No address of that peer could be reached.'),
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERRORS

export const isErrorCode = (text: string): text is ErrorCode => Object.hasOwn(ERRORS, text)

export interface SkeinErrorInit {
  /** The request field at fault, in OpenAI's notation: `messages[0].content`. */
  readonly param?: string
  /** When the same call may succeed, in seconds. */
  readonly retryAfterSeconds?: number
  readonly cause?: unknown
}

/** The one error class of the project. The message names the cause and, where there is one, the next step. */
export class SkeinError extends Error {
  override readonly name = 'SkeinError'
  readonly code: ErrorCode
  readonly param: string | undefined
  readonly retryAfterSeconds: number | undefined

  constructor(code: ErrorCode, message: string, init: SkeinErrorInit = {}) {
    super(message, init.cause === undefined ? undefined : { cause: init.cause })
    this.code = code
    this.param = init.param
    this.retryAfterSeconds = init.retryAfterSeconds
  }

  get row(): ErrorRow {
    return ERRORS[this.code]
  }
}

/** Whatever was thrown, as a `SkeinError`: itself, or wrapped under `fallback`. */
export function asSkeinError(thrown: unknown, fallback: ErrorCode = 'INTERNAL'): SkeinError {
  if (thrown instanceof SkeinError) return thrown
  const message = thrown instanceof Error ? thrown.message : String(thrown)
  return new SkeinError(fallback, message, { cause: thrown })
}
