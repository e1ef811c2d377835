/** Blind mailboxes of somebody's own devices: sealed entries are kept, given back and dropped. What is in them nobody here knows. */
export {
  MAILBOX_BOUNDS,
  Mailboxes,
  type MailboxesComponents,
  type MailboxesInit,
  type MailboxKey,
} from './mailboxes.ts'
export type { Appended, Entry, MailboxBounds, MailboxState, NewEntry, Page } from './types.ts'
