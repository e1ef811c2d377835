/** Bounds of what people bring together by hand: mailboxes of their devices, and machines that join by a code. */
export const PEOPLE_LIMITS = {
  /** Mailboxes of one coordinator. */
  syncMailboxesMax: 64,
  /** Entries of one mailbox, as they were sealed. */
  syncMailboxBytesMax: 64 * 1024 * 1024,
  /** Entries of one mailbox. */
  syncMailboxEntriesMax: 20_000,
  /** Devices that have sent into one mailbox. */
  syncMailboxDevicesMax: 32,
  /** Entries of all mailboxes together. */
  syncBytesMax: 512 * 1024 * 1024,
  /** One entry, as it was sealed. */
  syncEntryBytesMax: 256 * 1024,
  /** Entries of one answer, unless the first alone has more. */
  syncPageBytesMax: 2 * 1024 * 1024,
  /** Entries of one answer. */
  syncPageMax: 100,
  /** Longest that a reader may wait for an entry. */
  syncWaitMs: 25_000,
  /** Readers that wait; further ones are answered at once. */
  syncReadersMax: 128,
  /** Requests of mailboxes that the disk is behind with. */
  syncRequestsWaitingMax: 128,
  /** A mailbox that nobody has read or written for so long is dropped: 400 days. */
  syncUnusedMs: 400 * 24 * 3_600_000,
  /** Live invites of a mesh. */
  invitesMax: 256,
  /** Invites live this long unless told otherwise. */
  inviteValidityMs: 24 * 3_600_000,
  /** A pairing code lives this long. */
  pairingValidityMs: 600_000,
  /** Machines that may show a pairing code, right or wrong, before it holds no more. */
  pairingTriesMax: 5,
  /** A joiner with a code looks this long for the coordinator that shows it. */
  pairingSearchMs: 15_000,
} as const
