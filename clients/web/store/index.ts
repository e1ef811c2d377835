/** What the device keeps: chats as trees of immutable messages, searched, exported and imported; nothing here is UI. */
export type {
  Ask,
  AskTable,
  Chat,
  ChatRow,
  ChatSettings,
  ChatStore,
  DeviceCall,
  ErrorKept,
  Json,
  MadeKept,
  MessagePatch,
  MessageRow,
  NewMessage,
  Part,
  Role,
  Sampling,
  SearchHit,
  SearchOptions,
  Stamp,
  Status,
  StorageHealth,
  Unsubscribe,
} from './types.ts'
export { DEFAULTS } from './check.ts'
export { openChatStore, LocalStore, type StoreInit } from './chat-store.ts'
export { StoreError, type StoreErrorCode } from './errors.ts'
export { childrenOf, newestLeaf, pathTo, subtreeOf } from './tree.ts'
export { exportJsonl, exportLines, exportMarkdown, type MarkdownWords } from './export.ts'
export type { LeftReason } from './formats.ts'
export { importChats, type ImportOptions, type ImportReport, type LeftOut } from './import.ts'
// for `sync`, which carries what the store does
export { markPending, SYNC_KEY } from './changes.ts'
export { isFinal, isRecord, type Fields } from './check.ts'
export { DEVICE_ID } from './clock.ts'
export { messageKeyOf, metaOf, type Database, type Pending } from './database.ts'
export { keyOf, opOf, type Op } from './fold.ts'
