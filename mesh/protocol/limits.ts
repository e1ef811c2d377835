/**
 * Every bound of the system in one table, with the relations between them asserted when the module loads.
 * `docs/LIMITS.md` lists each with the memory that it allows in the worst case; a test holds the two together.
 * Units end the names: Ms milliseconds, Bytes bytes, Max the largest accepted value.
 */
import { DEVICE_LIMITS } from './device-limits.ts'
import { PEOPLE_LIMITS } from './people-limits.ts'

export const LIMITS = {
  /** Largest frame on a control, hello or join stream. */
  controlFrameBytesMax: 256 * 1024,
  /** Largest frame on an attempt stream: a prompt of `promptBytesMax` and the tokens generated so far fit in. */
  attemptFrameBytesMax: 6 * 1024 * 1024,
  /** CBOR items (numbers, texts, keys, lists) of one frame: more are refused before any is decoded. */
  frameItemsMax: 65_536,
  /** Bytes read from a stream but not yet taken by its reader, above which the stream is paused. */
  streamReadBufferBytes: 512 * 1024,
  /** HTTP request body. */
  httpBodyBytesMax: 4 * 1024 * 1024,
  /** HTTP request line and headers together. */
  httpHeaderBytesMax: 16 * 1024,
  /** Open HTTP connections; further ones are refused. */
  httpConnectionsMax: 2048,
  /** Sessions of clients of the Model Context Protocol, of those revisions of it that have some. */
  mcpSessionsMax: 1024,
  /** Of these, those of one tenant; beyond both the longest unused is taken back. */
  mcpSessionsPerTenantMax: 256,
  /** Nesting of a JSON body. */
  jsonDepthMax: 64,
  /** Prompt text after the chat template, in UTF-8. */
  promptBytesMax: 4 * 1024 * 1024,
  /** Messages of one chat request. */
  messagesMax: 4096,
  /** Tools of one request (OpenAI allows 128). */
  toolsMax: 128,
  /** Names, descriptions and parameters of all tools of one request, in UTF-8. */
  toolsBytesMax: 1024 * 1024,
  /** Tool calls in the messages of one request, all together. */
  toolCallsMax: 2048,
  /** Length of a tool call's id in UTF-16 code units. */
  toolCallIdLengthMax: 256,
  /** Tool calls of one answer; what comes behind them is text. */
  answerToolCallsMax: 128,
  /** Length of one tool call of an answer in UTF-16 code units; a longer one is text. */
  answerToolCallLengthMax: 256 * 1024,
  /** Choices of one request, over all its prompts; each is a task (OpenAI allows 128). */
  choicesMax: 16,
  /** Stop strings of one request (OpenAI allows 4). */
  stopStringsMax: 4,
  /** Length of one stop string in UTF-16 code units. */
  stopStringLengthMax: 256,
  /** Of the end of an answer: the tokens that `repeatPenalty` counts, as llama.cpp's and Ollama's defaults have it. */
  repeatPenaltyTokens: 64,
  /** Tokens of one request whose logits are moved (OpenAI allows 300). */
  logitBiasMax: 300,
  /** Tokens that one task may generate, whatever the model's context. */
  generatedTokensMax: 131_072,
  /** Text of an answer that goes on behind its text, in UTF-16 code units; a longer one cannot. */
  saidLengthMax: 144 * 1024,
  /** Tokens that a vocabulary may have; what is more, as a token's id, is a piece of text. */
  vocabularyTokensMax: 2 ** 24,
  /** Tokens of one `attempt.tokens` frame; an engine step that made more is split. */
  tokensPerFrameMax: 512,
  /** Text of the JSON schema that an answer, or the arguments of a tool, are held to, in UTF-16 code units. */
  outputSchemaLengthMax: 64 * 1024,
  /** Likeliest tokens told beside each token (OpenAI allows 20). */
  topLogprobsMax: 20,
  /** Bytes of one token. */
  tokenBytesMax: 256,
  /** Tasks admitted and not ended, queued ones included. */
  tasksMax: 4096,
  /** Tasks waiting for a slot; a further one is shed with `SATURATED`. */
  queuedTasksMax: 1024,
  /** Attempts of one task, moves included, before it fails. */
  attemptsMax: 64,
  /** Attempts in a row that end without a token before a task fails. */
  fruitlessAttemptsMax: 8,
  /** Attempts that a node keeps for a coordinator that has gone; the one that ended first is dropped. */
  heldAttemptsMax: 512,
  /** Ended tasks that the ledger lists in one page. */
  tasksPageMax: 200,
  /** Candidates kept in the explanation of one assignment. */
  explainedCandidatesMax: 64,
  /** Length of an `Idempotency-Key`. */
  idempotencyKeyLengthMax: 255,
  /** Keys of clients that are good at once. */
  apiKeysMax: 1000,
  /** Length of a key's name. */
  apiKeyNameLengthMax: 64,
  /** Patterns of models that one key is for. */
  apiKeyModelsMax: 64,
  /** Providers whose tokens (JWT) are taken. */
  jwtProvidersMax: 16,
  /** Length of a token of a provider. */
  jwtLengthMax: 8192,
  /** Public keys of one provider. */
  jwtKeysMax: 100,
  /** What a provider answers about itself or its keys. */
  jwtKeysBytesMax: 262_144,
  /** Tenants of tokens whose rates are kept; the one that asked longest ago is forgotten. */
  jwtTenantsMax: 10_000,
  ...DEVICE_LIMITS,
  ...PEOPLE_LIMITS,
  /** A bridge's database; what would not fit is told to devices as `storage_full`. */
  bridgeStoreBytesMax: 536_870_912,
  /** Messages with readings that wait at a bridge to be reported; further ones are `storage_full`. */
  bridgeOutboxMax: 200_000,
  /** Connections to a bridge's own broker. */
  bridgeClientsMax: 2048,
  /** One MQTT packet to a bridge's own broker, or of a device through another. */
  bridgePacketBytesMax: 8192,
  /** Serial ports that a bridge has open. */
  serialPortsMax: 32,
  /** Events that are kept for those who follow them; who is farther behind has missed some. */
  eventsKeptMax: 4096,
  /** Clients that follow events. */
  eventClientsMax: 64,
  /** Addresses of its gateway that a coordinator tells a node. */
  gatewayOriginsMax: 8,
  /** Models that are pulled for clients of Ollama's API at once. */
  apiPullsMax: 4,
  /** Sums of one answer about the usage. */
  usageSumsMax: 10_000,
  /** Tenants for whom money was spent in a month; for those on top nothing is spent. */
  budgetTenantsMax: 65_536,
  /** Tenants with a budget of their own. */
  budgetTermsMax: 1000,
  /** Length of a request's id, the client's own included. */
  requestIdLengthMax: 128,
  /** Spans that wait to be sent to a collector; what comes on top is dropped and counted. */
  spansWaitingMax: 8192,
  /** Spans of one message to a collector. */
  spansSentMax: 512,
  /** Length of a text in a span. */
  spanTextLengthMax: 256,
  /** Answer of a collector, and the connection to it. */
  spanExportMs: 10_000,
  /** Requests whose spans are open; of further ones there is none. */
  openTracesMax: 16_384,
  /** Entries of a table of prices, those of the owner's own included. */
  pricesMax: 1000,
  /** One uploaded file (OpenAI allows 200 MB for batches). */
  batchFileBytesMax: 200 * 1024 * 1024,
  /** Files that a coordinator keeps; further uploads are refused. */
  filesMax: 10_000,
  /** Length of a file's name in UTF-16 code units. */
  fileNameLengthMax: 255,
  /** Requests of one batch (OpenAI allows as many). */
  batchLinesMax: 50_000,
  /** One line of a batch's input: what a request may be, with what stands around it. */
  batchLineBytesMax: 4 * 1024 * 1024 + 4096,
  /** Answer to one line of a batch. */
  batchAnswerBytesMax: 16 * 1024 * 1024,
  /** Length of a line's `custom_id` in UTF-16 code units. */
  batchCustomIdLengthMax: 256,
  /** Problems of a batch's input that are told. */
  batchProblemsMax: 100,
  /** Models of one batch that are waited for when no node has them. */
  batchModelsMax: 64,
  /** Lines that are asked at once, of all batches; also lines of one batch that are asked or wait to be asked again. */
  batchLinesAskedMax: 64,
  /** Times that a line is asked when answering it fails by the mesh. */
  batchTriesMax: 3,
  /** Batches that have not ended. */
  batchesOpenMax: 256,
  /** Batches of one key that have not ended. */
  batchesOpenPerTenantMax: 32,
  /** Batches that a coordinator remembers. */
  batchesMax: 10_000,
  /** Text that may wait in the gateway for a client that does not read; above it the stream is cut. */
  clientBacklogBytesMax: 1024 * 1024,
  /** A client that reads nothing for this long while text waits is cut. */
  clientStallMs: 30_000,
  /** Members of one mesh that a directory keeps. */
  membersMax: 10_000,
  /** Open libp2p connections. */
  connectionsMax: 300,
  /** New inbound connections per second from one address: a school behind one NAT joins at once. */
  inboundConnectionsPerSecondMax: 50,
  /** Attempt streams that one connection may hold open towards a node. */
  attemptStreamsPerConnectionMax: 512,
  /** Signed capability record. */
  capabilityRecordBytesMax: 64 * 1024,
  /** Models that one node may advertise. */
  modelsPerNodeMax: 256,
  /** Model file that a store takes. */
  modelFileBytesMax: 4 * 1024 ** 4,
  /** Length of a model's name in the store. */
  modelNameLengthMax: 96,
  /** Connections that one pull holds to its source. */
  pullConnectionsMax: 16,
  /** Answer of a hub that lists the files of a repository, all pages together. */
  pullListingBytesMax: 16 * 1024 * 1024,
  /** Redirects on the way to a file. */
  pullRedirectsMax: 8,
  /** Failures in a row, without a byte between them, before a pull ends; what it has is kept. */
  pullFailuresMax: 8,
  /** Piece of a model file that has a hash of its own, and is fetched from one member at a time. */
  modelChunkBytes: 4 * 1024 * 1024,
  /** Length of the text that says which files a model has. */
  modelManifestBytesMax: 2048,
  /** Models whose files one `model.found` frame lists. */
  modelManifestsMax: 16,
  /** Bytes of one `model.bytes` frame. */
  modelSliceBytesMax: 128 * 1024,
  /** Hashes of one `model.hashes` frame. */
  modelHashesMax: 2048,
  /** Tickets that a node keeps; the oldest is dropped. */
  modelTicketsMax: 512,
  /** Tickets of one member that a node keeps; its oldest is dropped. */
  modelTicketsPerPeerMax: 16,
  /** Chunks that a node gives at once; who asks for another is told to come back. */
  modelTransfersMax: 32,
  /** Chunks that a node gives to one member at once. */
  modelTransfersPerPeerMax: 16,
  /** Model streams that one connection may hold open. */
  modelStreamsPerConnectionMax: 16,
  /** Members that one pull asks for a model, and takes it from. */
  modelHoldersMax: 32,
  /** Texts of one embedding or classification request (OpenAI allows 2,048); sent to nodes in parts. */
  workInputsMax: 2048,
  /** Texts of all such requests that a gateway has open, until each is answered; tensors count as many. */
  workInputsOpenMax: 131_072,
  /** Texts of one `work.start` frame. */
  workInputsPerFrameMax: 64,
  /** Texts of one `work.start` frame that are to be classified: their classes are many small items. */
  workClassifyInputsPerFrameMax: 8,
  /** Length of one such text in UTF-16 code units; a model may take less. */
  workTextLengthMax: 256 * 1024,
  /** Work streams that one connection may hold open towards a node. */
  workStreamsPerConnectionMax: 64,
  /** Work streams that a coordinator has open at once, to all nodes. */
  workStreamsMax: 256,
  /** Numbers of one embedding. */
  embeddingDimensionsMax: 8192,
  /** Classes told of one text: the likeliest ones. */
  workClassesMax: 1024,
  /** Tensors of one request, and of its result. */
  workTensorsMax: 32,
  /** Bytes of one tensor. */
  workTensorBytesMax: 4 * 1024 * 1024,
  /** Texts in UTF-8, or tensors, of one work frame, all together. */
  workBytesMax: 5 * 1024 * 1024,
  /** Labels of one node. */
  labelsMax: 64,
  /** Sequences that one loaded model may decode together. */
  slotsPerModelMax: 256,
  /** Adapters of one model. */
  adaptersMax: 8,
  /** KV states that a loaded model keeps in files; the one used longest ago goes first. */
  kvStatesMax: 64,
  /** Entries of the revocation list: as many as a signed record holds, at 81 bytes each. */
  revocationsMax: 768,
  /** Text of an invite. */
  inviteTextBytesMax: 4096,
  /** File of the owner's policy. */
  policyFileBytesMax: 64 * 1024,
  /** Entries of one list in the owner's policy. */
  policyListMax: 64,
  /** File of the owner's cloud settings. */
  cloudFileBytesMax: 256 * 1024,
  /** Meshes that a request may have left, one for the other, when it comes to a gateway. */
  hopsMax: 3,
  /** Patterns of what is taken out of texts before they leave. */
  redactPatternsMax: 32,
  /** Each of them, and what stands in the place of a match, in UTF-16 code units. */
  redactPatternLengthMax: 512,
  /** Time that they may take for one request; one that takes longer does not leave. */
  redactMs: 250,
  /** Name of a tenant, in UTF-16 code units. */
  tenantLengthMax: 128,
  /** What a heartbeat may carry to probe a link. */
  linkProbeBytesMax: 16 * 1024,
  /** Orders for replicas that a coordinator has in flight, and answers to orders that wait on a control stream. */
  replicaOrdersMax: 8,
  /** Orders for replicas that a coordinator remembers after their end, for people. */
  replicaOrdersKeptMax: 64,
  /** Models whose demand a coordinator measures, and whose days it remembers; the one asked for longest ago is forgotten. */
  demandModelsMax: 128,
  /** Length of what a node says why it is paused, in UTF-16 code units. */
  pauseReasonLengthMax: 256,
  /** A log file that is larger is put aside and compressed. */
  logFileBytesMax: 8 * 1024 * 1024,
  /** Log files that are kept beside the one that is written. */
  logFilesMax: 8,
  /** Log lines that wait for the disk; what goes over it is dropped and counted. */
  logBufferBytesMax: 1024 * 1024,
  /** One log line; a longer one is dropped and counted. */
  logLineBytesMax: 64 * 1024,

  /** A non-member's connection is closed after this long without a finished hello or join. */
  helloMs: 3000,
  /** Longest silence inside a join exchange. */
  joinMs: 10_000,
  /** Heartbeats on a control stream. */
  heartbeatIntervalMs: 500,
  /** Longest predicted time for writing or reading a KV state, which holds up the answers beside it. */
  kvStallMs: 250,
  /** No frame on a control stream for this long: the node gets no new work. */
  suspectAfterMs: 1500,
  /** No frame on a control stream for this long: the node is lost. */
  lostAfterMs: 1800,
  /** A node that has been gone this long is no longer listed. */
  forgottenAfterMs: 600_000,
  /** Load reports are sent on change, at most this often. */
  loadReportIntervalMs: 250,
  /** A link on which nothing long went is probed this often at most. */
  linkProbeIntervalMs: 600_000,
  /** A node looks this often whether its owner's policy lets it serve; what is set, and pauses, are noticed at once. */
  policyLookMs: 2000,
  /** A task may wait for a slot this long. */
  queuedMs: 60_000,
  /** From an order for a replica to the node's answer that it was accepted or refused. */
  replicaAnswerMs: 5000,
  /** From an accepted order to the model in memory. */
  replicaLoadMs: 600_000,
  /** The same, when the model is fetched from members first. */
  replicaFetchMs: 4 * 3_600_000,
  /** A coordinator keeps an unused attempt stream to a node in reserve this long. */
  reserveStreamMs: 15_000,
  /** A node waits this long for `attempt.start` on an attempt stream. */
  attemptStartMs: 20_000,
  /** From opening the attempt stream to `attempt.accepted`. */
  assignToAcceptMs: 2000,
  /** From `attempt.accepted` to the next sign of progress: prefill and model load report every half second. */
  progressMs: 4000,
  /** Longest time without a token once decoding has begun; the bound adapts to the node's own rhythm below it. */
  tokenStallMs: 2000,
  /** A node keeps a running or ended attempt this long when its coordinator has gone. */
  heldAttemptMs: 30_000,
  /** A restarted coordinator waits this long for the nodes that may still hold an attempt. */
  reattachMs: 8000,
  /** A resumable answer goes on this long without its client. */
  detachedMs: 60_000,
  /** The tokens of a running answer that may be resumed are made durable this often. */
  checkpointMs: 1000,
  /** A prepared attempt waits this long for its commit. */
  preparedMs: 15_000,
  /** A planned move prepares its target this long before it is given up. */
  prepareMs: 60_000,
  /** Text of an ended task is kept this long, unless its client asked for it to be stored. */
  resultRetentionMs: 24 * 3_600_000,
  /** Stored answers, and what is left of tasks without their text, are kept this long. */
  taskRetentionMs: 30 * 24 * 3_600_000,
  /** An answer is given again to who asks the same for this long (`--cache`). */
  cachedAnswerMs: 24 * 3_600_000,
  /** A larger one is not kept: it is given at once, and waits for its client whole. */
  cachedAnswerBytesMax: 768 * 1024,
  /** Kept answers on the disk, whatever room there is. */
  cachedAnswersMax: 65_536,
  /** What answers and work have used is kept this long: a year, and the month in which it is looked at. */
  usageRetentionMs: 400 * 24 * 3_600_000,
  /** A client of a bridge's own broker that reads nothing is cut after this long. */
  bridgeDrainMs: 2000,
  /** A bridge waits at most this long before it tries a broker, or a serial port, again. */
  bridgeReconnectMs: 30_000,
  /** A broker answers a bridge within this long. */
  bridgeConnectMs: 10_000,
  /** A bridge looks for serial ports that were plugged in this often. */
  serialScanMs: 2000,
  /** Files are kept this long, unless their client named another time. */
  fileRetentionMs: 30 * 24 * 3_600_000,
  /** What is known of a batch is kept this long after its end. */
  batchRetentionMs: 30 * 24 * 3_600_000,
  /** Longest completion window of a batch. */
  batchWindowMs: 7 * 24 * 3_600_000,
  /** From the headers of an upload to its end. */
  uploadMs: 900_000,
  /** A session of the Model Context Protocol that nobody uses and in which nothing runs is over after this long. */
  mcpSessionIdleMs: 1_800_000,
  /** The old secret of a rotated key holds this long, unless told otherwise. */
  apiKeyGraceMs: 24 * 3_600_000,
  /** It may be told to hold this long at most. */
  apiKeyLongestGraceMs: 30 * 24 * 3_600_000,
  /** A provider of tokens answers within this long. */
  jwtKeysAnswerMs: 5000,
  /** It is asked for its keys once in this long at most, whatever tokens are shown. */
  jwtKeysCooldownMs: 30_000,
  /** Keys of a provider that are older are asked for again when one of its tokens is shown. */
  jwtKeysFreshMs: 600_000,
  /** Keys of a provider that does not answer are good for this long. */
  jwtKeysStaleMs: 24 * 3_600_000,
  /** A gateway looks for a new certificate this often. */
  tlsCheckMs: 10_000,
  /** The owner is warned of the end of a given certificate this long before it. */
  tlsWarningMs: 14 * 24 * 3_600_000,
  /** A source of a model answers a request within this long. */
  pullResponseMs: 30_000,
  /** A source that sends no byte for this long is asked again. */
  pullStallMs: 20_000,
  /** A pull waits at most this long before it asks a source again, whatever the source says. */
  pullRetryMs: 120_000,
  /** A log that cannot be written is tried again after this long. */
  logRetryMs: 5000,
  /** A ticket for a model is good this long. */
  modelTicketMs: 600_000,
  /** A member that has a model answers on its model stream within this long. */
  modelAnswerMs: 20_000,
  /** A node closes a model stream on which nothing is asked for this long. */
  modelIdleMs: 120_000,
  /** A direct address of a member is given up after this long without a connection. */
  modelConnectMs: 2000,
  /** From opening a work stream to its first frame, and between its frames. */
  workProgressMs: 4000,
  /** A piece of work on one node, the wait for its turn and a model that is loading included. */
  workMs: 120_000,
  /** A whole task. */
  taskMs: 3_600_000,
  /** SIGTERM: running answers may end within this long, then they are ended with an explicit error. */
  shutdownGraceMs: 8000,
  /** SIGTERM to the end of the process, whatever happens. */
  shutdownMs: 10_000,

  /** Capability records are signed for this long and renewed at a third of it. */
  capabilityValidityMs: 120_000,
  /** Provider records of the DHT: the library has no un-provide, so they are short. */
  providerValidityMs: 120_000,
  /** Membership certificates live this long; renewed when a third is left. */
  certificateValidityMs: 30 * 24 * 3_600_000,
  /** Members in one process beside its own: nodes for endpoints. */
  localMembersMax: 32,
  /** Clocks of members may differ by this much. */
  clockSkewMs: 120_000,
} as const

const relations: readonly [boolean, string][] = [
  [LIMITS.lostAfterMs >= 3 * LIMITS.heartbeatIntervalMs, 'a lost verdict needs three missed heartbeats'],
  [LIMITS.reserveStreamMs < LIMITS.attemptStartMs, 'a stream in reserve is given up before the node gives it up'],
  [LIMITS.suspectAfterMs < LIMITS.lostAfterMs, 'a node is suspected before it is lost'],
  [LIMITS.lostAfterMs < LIMITS.forgottenAfterMs, 'a node is lost before it is forgotten'],
  [LIMITS.loadReportIntervalMs <= LIMITS.heartbeatIntervalMs, 'load is never older than a heartbeat'],
  [
    LIMITS.attemptFrameBytesMax >=
      LIMITS.promptBytesMax + LIMITS.toolsBytesMax + 4 * LIMITS.generatedTokensMax + 3 * LIMITS.saidLengthMax,
    'a continuation fits one frame',
  ],
  [
    LIMITS.frameItemsMax >=
      9 * LIMITS.messagesMax + 7 * (LIMITS.toolCallsMax + LIMITS.toolsMax) + 5 * LIMITS.logitBiasMax + 1024,
    'a chat of the most messages, tools and calls fits one frame',
  ],
  [LIMITS.httpBodyBytesMax <= LIMITS.promptBytesMax, 'what the gateway accepts can be sent to a node'],
  [LIMITS.batchLineBytesMax > LIMITS.httpBodyBytesMax, 'what may be asked alone may be a line of a batch'],
  [LIMITS.capabilityRecordBytesMax < LIMITS.controlFrameBytesMax, 'a capability record fits one control frame'],
  [LIMITS.capabilityRecordBytesMax >= 82 * LIMITS.revocationsMax, 'the longest revocation list fits a signed record'],
  [LIMITS.modelSliceBytesMax < LIMITS.controlFrameBytesMax, 'a slice of a model fits one frame'],
  [32 * LIMITS.modelHashesMax < LIMITS.controlFrameBytesMax, 'a page of hashes fits one frame'],
  [LIMITS.modelTicketsPerPeerMax <= LIMITS.modelTicketsMax, 'the tickets of a member are tickets'],
  [LIMITS.modelTransfersPerPeerMax <= LIMITS.modelTransfersMax, 'the chunks of a member are chunks'],
  [
    640 * LIMITS.modelsPerNodeMax + 2 * LIMITS.modelManifestsMax * LIMITS.modelManifestBytesMax <
      LIMITS.controlFrameBytesMax,
    'a list of all models of a node fits one frame',
  ],
  [
    4 * LIMITS.embeddingDimensionsMax * LIMITS.workInputsPerFrameMax < LIMITS.attemptFrameBytesMax,
    'the embeddings of one frame fit one frame',
  ],
  [LIMITS.workInputsMax <= LIMITS.workInputsOpenMax, 'the longest request of work can be open'],
  [
    6 * LIMITS.workClassesMax * LIMITS.workClassifyInputsPerFrameMax < LIMITS.frameItemsMax,
    'the classes of one frame fit one frame',
  ],
  [LIMITS.workTensorBytesMax <= LIMITS.workBytesMax, 'a tensor fits one frame'],
  [3 * LIMITS.workTextLengthMax <= LIMITS.workBytesMax, 'a text to embed fits one frame'],
  [
    LIMITS.workBytesMax + 1024 * LIMITS.workInputsPerFrameMax < LIMITS.attemptFrameBytesMax,
    'what is worked on in one frame fits one frame',
  ],
  [LIMITS.workTextLengthMax <= LIMITS.promptBytesMax, 'a text to embed is no longer than a prompt'],
  [LIMITS.queuedTasksMax <= LIMITS.tasksMax, 'queued tasks are tasks'],
  [LIMITS.fruitlessAttemptsMax <= LIMITS.attemptsMax, 'fruitless attempts are attempts'],
  [LIMITS.spansSentMax <= LIMITS.spansWaitingMax, 'a message of spans is made of those that wait'],
  [LIMITS.reattachMs < LIMITS.heldAttemptMs, 'a node holds an attempt for as long as a restart takes'],
  [LIMITS.checkpointMs < LIMITS.heldAttemptMs, 'what a checkpoint lacks is still held by the node'],
  [LIMITS.resultRetentionMs <= LIMITS.taskRetentionMs, 'a result is part of its task'],
  [LIMITS.cachedAnswerBytesMax < LIMITS.clientBacklogBytesMax, 'a kept answer may wait for a client'],
  [LIMITS.cachedAnswerMs <= LIMITS.resultRetentionMs, 'an answer is not kept longer for others than for its client'],
  [LIMITS.taskRetentionMs <= LIMITS.usageRetentionMs, 'of every task that is known its use is known'],
  [LIMITS.mcpSessionsPerTenantMax < LIMITS.mcpSessionsMax, 'one tenant does not take the sessions of all'],
  [LIMITS.apiKeyGraceMs <= LIMITS.apiKeyLongestGraceMs, 'the usual grace is one that may be asked for'],
  [LIMITS.jwtKeysCooldownMs <= LIMITS.jwtKeysFreshMs, 'keys that are not fresh may be asked for'],
  [LIMITS.jwtKeysFreshMs < LIMITS.jwtKeysStaleMs, 'keys are asked for again before they are no longer good'],
  [LIMITS.replicaAnswerMs > LIMITS.lostAfterMs, 'a node that does not answer an order is lost first'],
  [LIMITS.replicaLoadMs < LIMITS.replicaFetchMs, 'a replica that is fetched is loaded as well'],
  [LIMITS.kvStallMs < LIMITS.heartbeatIntervalMs, 'a KV state holds up answers for less than a heartbeat'],
  [LIMITS.shutdownGraceMs < LIMITS.shutdownMs, 'time is left to say why an answer was ended'],
  [LIMITS.helloMs < LIMITS.joinMs, 'a join takes longer than a hello'],
  [LIMITS.deviceFrameBytesMax <= LIMITS.deviceMessageBytesMax, 'a frame of a serial line is a message'],
  [
    LIMITS.deviceTaskDevicesMax + LIMITS.deviceTaskRetriesMax <= LIMITS.deviceTaskCallsKeptMax,
    'what a pass of a device task has called is known as long as it runs',
  ],
  [LIMITS.deviceTaskCallsOpenMax < LIMITS.deviceCallsOpenMax, 'device tasks leave room for the calls of others'],
  [LIMITS.deviceMessageBytesMax < LIMITS.bridgePacketBytesMax, 'a message of a device fits one packet'],
  [LIMITS.syncEntryBytesMax < LIMITS.httpBodyBytesMax / 4, 'an entry of a mailbox, in base64, fits one body'],
  [LIMITS.syncEntryBytesMax <= LIMITS.syncPageBytesMax, 'an entry of a mailbox fits one answer'],
]
for (const [holds, why] of relations) if (!holds) throw new RangeError(`limits contradict each other: ${why}`)
