/** What a device keeps: chats, their trees of messages, and what is local to the device alone. */

/** A hybrid logical time as a string that sorts; see `clock.ts`. */
export type Stamp = string

/** What is absent is the model's own. */
export interface Sampling {
  readonly temperature?: number
  readonly topP?: number
  readonly topK?: number
  readonly minP?: number
  /** In tokens. */
  readonly maxTokens?: number
  readonly seed?: number
  readonly effort?: 'none' | 'low' | 'medium' | 'high'
}

/** What a person sets of a chat; each is a register of its own, in which the later write wins. */
export interface ChatSettings {
  readonly title: string
  /** Empty: in none. */
  readonly folder: string
  readonly pinned: boolean
  /** Empty: what the page chooses. */
  readonly model: string
  /** Shown to the model in front of the conversation; empty: none. */
  readonly system: string
  readonly sampling: Sampling
  /** Nothing of it leaves the owner's devices. */
  readonly localOnly: boolean
  /** What the model may do with devices while it answers. */
  readonly devices: 'none' | 'read' | 'act'
}

export interface Chat extends ChatSettings {
  readonly id: string
  /** Wall clock, ms since 1970. */
  readonly createdAtMs: number
  /** Of its last message, or of its beginning. */
  readonly updatedAtMs: number
}

/** A chat as the list shows it: small, so that thousands are read at once. */
export interface ChatRow {
  readonly id: string
  readonly title: string
  readonly folder: string
  readonly pinned: boolean
  readonly model: string
  readonly createdAtMs: number
  readonly updatedAtMs: number
}

export type Role = 'system' | 'user' | 'assistant' | 'tool'

export type Part =
  | { readonly type: 'text'; readonly text: string }
  /** What a model thought before it answered. */
  | { readonly type: 'thought'; readonly text: string }
  /** A text that was added to a message. */
  | { readonly type: 'file'; readonly name: string; readonly text: string }
  /** A call of a device that the model made, and how it ended. */
  | { readonly type: 'call'; readonly call: DeviceCall }

export interface DeviceCall {
  /** `greenhouse.temperature`: device and capability. */
  readonly tool: string
  /** JSON, as the model wrote it. */
  readonly arguments: string
  /** `confirm`: it waits for a person. */
  readonly state: 'begun' | 'confirm' | 'ended'
  /** Of one that waits: what `confirm` is called with. */
  readonly call?: string
  readonly outcome?: string
  readonly value?: string | number | boolean
  readonly unit?: string
  readonly error?: string
}

/** `queued` and `running` are the device's own and may still change; the rest are final and go to the other devices. */
export type Status = 'queued' | 'running' | 'done' | 'stopped' | 'failed'

/** JSON that the store keeps and does not look into, but for its size. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json | undefined }

/** Where an answer was made, as `answers` says it (`Made` there); at most {@link MADE_BYTES_MAX} as JSON. */
export type MadeKept = object

/** Why an answer failed, as `answers` says it (`Problem` there). */
export type ErrorKept = object

/** One message: a node of its chat's tree. Editing and regenerating make siblings, never another text in its place. */
export interface MessageRow {
  readonly id: string
  readonly chatId: string
  /** Undefined at the start of a chat. One that is not kept here counts as none. */
  readonly parentId: string | undefined
  readonly role: Role
  readonly parts: readonly Part[]
  readonly status: Status
  /** Wall clock, ms since 1970. */
  readonly createdAtMs: number
  readonly taskId?: string
  /** What it was asked of. */
  readonly model?: string
  readonly made?: MadeKept
  readonly error?: ErrorKept
  readonly hlc: Stamp
}

/** A message that is new: its id is made before the network is asked, and by whoever makes it (`newId`). */
export type NewMessage = Omit<MessageRow, 'hlc' | 'createdAtMs'> & { readonly createdAtMs?: number }

/** What may change of a message that is queued or running. */
export interface MessagePatch {
  readonly parts?: readonly Part[]
  readonly status?: Status
  readonly taskId?: string
  readonly model?: string
  readonly made?: MadeKept
  readonly error?: ErrorKept
}

/** A request as it was made, so that a reload asks again with the same body. Of this device alone. */
export interface Ask {
  /** Of the message that it answers into; its `Idempotency-Key`. */
  readonly id: string
  readonly chatId: string
  readonly order: number
  readonly body: Json
}

export interface AskTable {
  get(id: string): Promise<Ask | undefined>
  put(ask: Ask): Promise<void>
  delete(id: string): Promise<void>
  /** In their order. */
  all(): Promise<Ask[]>
}

export interface SearchHit {
  readonly chatId: string
  readonly title: string
  /** Undefined: the title itself matched. */
  readonly messageId?: string
  readonly role?: Role
  /** Wall clock, ms since 1970. */
  readonly atMs: number
  /** A piece of the text around the words, on one line. */
  readonly snippet: string
  /** Where the words are in `snippet`: begin and end, in UTF-16 units, in order and apart. */
  readonly marks: readonly (readonly [number, number])[]
}

export interface SearchOptions {
  /** Hits at most; 30 when absent. */
  readonly limit?: number
  readonly signal?: AbortSignal
}

/** What the browser says of the room that it gives, and whether it promises to keep what is there. */
export interface StorageHealth {
  /** In bytes, as the browser rounds them; undefined where it does not tell. */
  readonly usedBytes: number | undefined
  readonly quotaBytes: number | undefined
  /** `unknown`: this browser does not promise, or the page is not in a secure context. */
  readonly persistence: 'kept' | 'may-be-evicted' | 'unknown'
  readonly chats: number
  readonly messages: number
  /** Messages that the search does not know yet. */
  readonly unindexed: number
  /** The last write that failed for want of room; undefined when none has since the page was opened. */
  readonly fullSinceMs: number | undefined
}

export type Unsubscribe = () => void

/** What a device keeps. All writes are on the disk when their promise is fulfilled, and are seen by every tab. */
export interface ChatStore {
  /** Of this device among its owner's; 16 hexadecimal digits. */
  readonly deviceId: string
  /** For chats and messages: sorts by the time of its making. */
  newId(): string

  /** All chats, at once and after each change, from any tab; the latest message first. */
  watchChats(on: (chats: readonly ChatRow[]) => void): Unsubscribe
  /** One chat with its settings; undefined when it is not (or no longer) there. */
  watchChat(id: string, on: (chat: Chat | undefined) => void): Unsubscribe
  /** All messages of a chat, all branches, in the order of their making. */
  watchMessages(chatId: string, on: (messages: readonly MessageRow[]) => void): Unsubscribe
  chats(): Promise<ChatRow[]>
  chat(id: string): Promise<Chat | undefined>
  messages(chatId: string): Promise<MessageRow[]>
  message(id: string): Promise<MessageRow | undefined>
  /** From the start of the chat to `messageId`, in order; empty when it is not there. */
  path(messageId: string): Promise<MessageRow[]>
  /** What is queued or running in any chat, in the order of its making. */
  unfinished(): Promise<MessageRow[]>

  /** A new chat, with the defaults of {@link DEFAULTS} where `settings` says nothing. `id` may be made before. */
  createChat(settings?: Partial<ChatSettings>, id?: string): Promise<Chat>
  /** Only what is named and differs is written. @throws StoreError `not-found`, `invalid`. */
  setChat(id: string, settings: Partial<ChatSettings>): Promise<void>
  /** For good, on all devices: contents are gone at once, and what the search knew of them. */
  deleteChats(ids: readonly string[]): Promise<void>
  /**
   * Keeps messages, all or none; the chat must be there. An id that is known with the same contents is left as it is.
   * @throws StoreError `not-found` (chat), `exists` (other contents under the id), `invalid`, `full`.
   */
  insert(messages: readonly NewMessage[]): Promise<void>
  /**
   * Changes a message that is queued or running; also takes a failed one without a text back to `queued` or `running`.
   * @returns false when it is final or gone: nothing is written then. @throws StoreError `invalid`, `full`.
   */
  update(id: string, patch: MessagePatch): Promise<boolean>
  /** A message and all that follows on it, for good. */
  deleteMessage(id: string): Promise<void>

  /** The leaf that is looked at in a chat; of this device alone. */
  selection(chatId: string): Promise<string | undefined>
  watchSelection(chatId: string, on: (leafId: string | undefined) => void): Unsubscribe
  select(chatId: string, leafId: string): Promise<void>
  /** What is typed and not sent; of this device alone. `''` as chat id: of the chat that is not begun. */
  draft(chatId: string): Promise<string>
  setDraft(chatId: string, text: string): Promise<void>
  readonly asks: AskTable

  /** All words must be there, the last as the beginning of one; the best first. Nothing for a query without a word. */
  search(query: string, options?: SearchOptions): Promise<SearchHit[]>
  health(): Promise<StorageHealth>
  /** Asks the browser to keep the data, once, when there is something to lose; later calls only tell. */
  askToKeep(): Promise<StorageHealth['persistence']>
  /** Told of each write that failed for want of room. */
  onFull(on: () => void): Unsubscribe
  close(): void
}
