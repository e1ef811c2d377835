/** Bounds of devices and their bridges, a part of `LIMITS`: who needs one takes it from there. */
export const DEVICE_LIMITS = {
  /** Devices of a mesh, behind all its bridges. */
  devicesMax: 10_000,
  /** Bridges of a mesh. */
  bridgesMax: 64,
  /** Capabilities of one device. */
  deviceCapabilitiesMax: 32,
  /** Length of a text that a device has for a value, in UTF-16 code units. */
  deviceTextLengthMax: 256,
  /** Readings that are kept of one device; the oldest go first. */
  deviceReadingsPerDeviceMax: 100_000,
  /** Readings that are kept of all devices. */
  deviceReadingsMax: 5_000_000,
  /** Readings of one answer about a device's history. */
  deviceHistoryMax: 10_000,
  /** Calls of devices that have not ended; also those that wait for one bridge. */
  deviceCallsOpenMax: 512,
  /** Ended calls of devices that are kept. */
  deviceCallsKeptMax: 100_000,
  /** Device tasks that have not ended. */
  deviceTasksMax: 256,
  /** Device tasks of one tenant that have not ended. */
  deviceTasksPerTenantMax: 64,
  /** Ended device tasks that are kept. */
  deviceTasksKeptMax: 1000,
  /** Devices that one pass of a device task calls. */
  deviceTaskDevicesMax: 64,
  /** Further tries of one pass of a device task. */
  deviceTaskRetriesMax: 5,
  /** Calls of one device task that are kept; the oldest go first. */
  deviceTaskCallsKeptMax: 100,
  /** Calls of all device tasks that have not ended. */
  deviceTaskCallsOpenMax: 64,
  /** Requests that wait for the devices' database. */
  deviceWritesWaitingMax: 4096,
  /** Messages that wait for a bridge that does not read its stream of calls; above it the stream is cut. */
  bridgeMessagesWaitingMax: 1024,
  /** Capabilities of devices that a model is shown as tools; the first by name. */
  deviceToolsMax: 64,
  /** Calls of devices that are carried out for one answer. */
  deviceToolCallsMax: 32,
  /** Times that a model is asked for one answer with devices. */
  toolRoundsMax: 6,
  /** One report of a bridge. */
  bridgeReportBytesMax: 1024 * 1024,
  /** Devices that one report of a bridge describes. */
  bridgeReportDevicesMax: 256,
  /** Readings, and changes of state, of one report of a bridge. */
  bridgeReportReadingsMax: 5000,
  /** Outcomes of calls of one report of a bridge. */
  bridgeReportResultsMax: 1000,
  /** What came of rules in one report of a bridge, by rule, device and outcome. */
  bridgeReportRulesMax: 256,
  /** Readings of devices are kept this long. */
  deviceReadingsRetentionMs: 7 * 24 * 3_600_000,
  /** Ended calls of devices are kept this long. */
  deviceCallsRetentionMs: 90 * 24 * 3_600_000,
  /** A call of a device is good this long at most. */
  deviceCallMs: 600_000,
  /** A call that its device's policy wants confirmed waits this long for a person. */
  deviceConfirmMs: 60_000,
  /** From one pass of a device task to the next, at least. */
  deviceTaskEveryMs: 5000,
  /** From one pass of a device task to the next, at most. */
  deviceTaskLongestEveryMs: 31 * 24 * 3_600_000,
  /** How far ahead the end of a device task may be. */
  deviceTaskUntilMs: 366 * 24 * 3_600_000,
  /** A pass of a device task waits this long for devices that are away, or as long as its calls are good where that is longer. */
  deviceTaskPatienceMs: 10_000,
  /** A bridge counts as online this long after its stream of calls ended. */
  bridgeGraceMs: 3000,
  /** Signs of life on a bridge's stream of calls. */
  bridgeHeartbeatMs: 5000,
  /** An answer with devices, all its rounds together, where its request names no other deadline. */
  toolLoopMs: 300_000,
  /** One message between a device and the bridge, without packet or frame. */
  deviceMessageBytesMax: 4096,
  /** CBOR items (numbers, texts, lists) of one message of a device. */
  deviceMessageItemsMax: 128,
  /** What describes one capability of a device, such as `rf:temperature:C`. */
  deviceCapabilityBytesMax: 64,
  /** Parts of one prompt of a device, for boards whose buffer is smaller than the prompt. */
  devicePromptPartsMax: 64,
  /** One frame of a serial line, decoded: type, number, payload and checksum. */
  deviceFrameBytesMax: 255,
  /** One line of a device that speaks in lines. */
  deviceLineBytesMax: 256,
  /** Boards at a bridge that claim to be one of the owner's devices. */
  deviceClaimsMax: 64,
  /** Messages of one device in a second, over time. */
  deviceMessagesPerSecondMax: 20,
  /** Messages of one device at once, after a silence. */
  deviceMessagesBurstMax: 60,
  /** Messages of one device that wait for the disk. */
  deviceWritesPendingMax: 64,
  /** Bytes that wait for one device at its link; what comes then is not sent. */
  deviceSendBytesMax: 16_384,
  /** Commands of one device without a result; further ones wait. */
  deviceCallsInFlightMax: 2,
  /** Prompt of a device's question, all its parts together, in UTF-8. */
  askPromptBytesMax: 16 * 1024,
  /** Answer to a device, in UTF-8, whatever it asks for. */
  askAnswerBytesMax: 16 * 1024,
  /** Questions that an owner may let one device ask in a minute. */
  deviceAsksPerMinuteMax: 1200,
  /** Tokens, of questions and answers, that an owner may let one device have in a day. */
  deviceTokensPerDayMax: 1_000_000_000,
  /** Questions of one device that have no end yet. */
  asksPerDeviceMax: 4,
  /** Questions of all devices of a bridge that have no end yet. */
  asksMax: 1024,
  /** Questions that a bridge has coordinators answer at once; the others wait, and devices take turns. */
  asksRunningMax: 32,
  /** A device says anything at least this often, or is lost at twice that. */
  deviceHeartbeatMs: 60_000,
  /** A claim waits this long for its owner, and an approved one for its board. */
  deviceClaimMs: 600_000,
  /** A device's question and its answer are kept this long, to be given again. */
  askRetentionMs: 3_600_000,
  /** Rules of one bridge. */
  rulesMax: 64,
  /** A file of rules. */
  rulesFileBytesMax: 256 * 1024,
  /** Rules whose condition is met, and that wait for others which ask and act; one more does nothing. */
  rulesWaitingMax: 64,
  /** Rules that ask or act at once. */
  rulesRunningMax: 8,
  /** From the reading that meets a rule's condition to the answer of the model that it asks. */
  ruleMs: 60_000,
} as const
