/**
 * The owner's devices keep their chats one, through a mailbox at the coordinator that sees neither words nor names. The
 * panels are in `panels.tsx`, loaded when they are shown.
 */
export { SyncError, type SyncErrorCode } from './errors.ts'
export type { SyncReply, SyncRequest } from './mailbox.ts'
export { syncRequest } from './request.ts'
export { createSync, type OtherDevice, type Sync, type SyncInit, type SyncStatus } from './sync.ts'

/** What a person sees of it; also of files of chats. */
export const loadPanels = () => import('./panels.tsx')
