/** What answers are to the rest of the page: what may be asked of them, and what they show while they come. */
import type { ReadonlySignal } from '@preact/signals'
import type { DeviceCall, Sampling } from '../store/index.ts'

export type { DeviceCall, Sampling }

/** What an answer is asked with, fixed when it is asked: a setting of its chat that changes later changes the next one. */
export interface AskSettings {
  readonly model: string
  /** Shown to the model in front of the conversation; none when empty. */
  readonly system: string
  /** Nothing leaves the owner's devices for it. */
  readonly localOnly: boolean
  /** What the model may do with devices while it answers. */
  readonly devices: 'none' | 'read' | 'act'
  readonly sampling: Sampling
}

/** Where an answer was made and what it took; what is not known (yet) is absent. */
export interface Made {
  readonly taskId?: string
  readonly node?: string
  readonly route?: 'local' | 'mesh' | 'cloud'
  /** Attempts that it took; 1 when it never moved. */
  readonly attempts?: number
  readonly moves?: readonly Move[]
  readonly promptTokens?: number
  readonly cachedTokens?: number
  readonly completionTokens?: number
  readonly tokensPerS?: number
  /** From asking to the first token, in ms. */
  readonly firstTokenMs?: number
  /** In the owner's currency; absent when it was free. */
  readonly cost?: number
  /** Why it left the owner's devices: `too-big`, `deadline`, `name`, `lost`, `low-confidence`. */
  readonly cloudReason?: string
  /** The model that has answered in the place of the one that was asked for. */
  readonly standIn?: string
  /** A kept answer was given. */
  readonly isKept?: boolean
  /** Of the sampler; the same seed and conversation make the same answer. */
  readonly seed?: number
  /** `length`: its limit of tokens cut it off, and it can be gone on with. */
  readonly finish?: 'stop' | 'length' | 'tool_calls'
  /** Times that its stream broke and was gone on with. */
  readonly resumed?: number
  /** Times that it was asked for under a name of its own: part of the next one. */
  readonly round?: number
}

/** The answer went on elsewhere. */
export interface Move {
  readonly from?: string
  readonly to: string
  /** Such as `lost`, `drain`, `rebalance`, `preempted`, `escalated`; absent while only the stream has told of it. */
  readonly reason?: string
  /** Wall clock, ms since 1970. */
  readonly atMs: number
}

/** What can go wrong, by what a person can do about it. */
export type ProblemKind =
  /** A key is needed, or the one given is not good. */
  | 'key-needed'
  /** The key may not do this. */
  | 'forbidden'
  /** No member has the model: choose another, or fetch it. */
  | 'no-model'
  /** Nobody can serve it now. */
  | 'no-node'
  /** All are busy; `retryAfterMs` says when to ask again. */
  | 'saturated'
  /** Nothing at home can serve it, and the chat stays at home. */
  | 'local-only'
  /** The policy of the owner keeps it from the cloud. */
  | 'policy'
  /** The budget, the quota or the rate is used up. */
  | 'budget'
  /** The conversation is larger than what the model takes. */
  | 'too-long'
  /** The answer could not be gone on with: what there was is kept. */
  | 'interrupted'
  /** The request is wrong; `message` says where. */
  | 'request'
  /** All else. */
  | 'failed'

export type ProblemAction = 'retry' | 'continue' | 'key' | 'model' | 'settings' | 'explain'

/** A typed failure; words for its kind stand in `words/answers`. */
export interface Problem {
  readonly kind: ProblemKind
  /** Of `docs/ERRORS.md`, in lower case. */
  readonly code: string
  /** As the coordinator said it, in English. */
  readonly message: string
  readonly retryAfterMs?: number
  readonly taskId?: string
  /** What can be offered, the best first. */
  readonly actions: readonly ProblemAction[]
}

/** What happens beneath an answer while it comes; never part of its text. */
export type Note =
  /** Sent once the mesh is there again. */
  | { readonly kind: 'outbox' }
  /** Asked, and nothing heard yet. */
  | { readonly kind: 'asking' }
  | { readonly kind: 'queued'; readonly place: number }
  | { readonly kind: 'loading'; readonly percent: number | undefined }
  | { readonly kind: 'moving'; readonly reason: 'lost' | 'escalated' | 'other'; readonly to: string | undefined }
  /** The connection broke; it is being come back to. */
  | { readonly kind: 'reconnecting' }
  /** What is shown is being made again, to go on behind it; 0 to 1. */
  | { readonly kind: 'catching-up'; readonly done: number }
  /** The mesh is full and asked to be left alone for a while. */
  | { readonly kind: 'saturated'; readonly againMs: number }
  /** As the mesh said it. */
  | { readonly kind: 'other'; readonly text: string }

export type LivePhase = 'outbox' | 'asking' | 'thinking' | 'writing' | 'done' | 'stopped' | 'failed'

/** An answer that comes, in this tab or another. Signals change at most once in a frame. */
export interface LiveAnswer {
  readonly messageId: string
  readonly chatId: string
  readonly phase: ReadonlySignal<LivePhase>
  readonly text: ReadonlySignal<string>
  readonly thought: ReadonlySignal<string>
  /** What it waits for; undefined while it is written. */
  readonly note: ReadonlySignal<Note | undefined>
  readonly calls: ReadonlySignal<readonly DeviceCall[]>
  readonly made: ReadonlySignal<Made>
  readonly problem: ReadonlySignal<Problem | undefined>
}

/** A message that waits for the mesh to be reachable; `cancel` takes it back. */
export interface OutboxItem {
  readonly messageId: string
  readonly chatId: string
  /** Wall clock, ms since 1970. */
  readonly askedAtMs: number
  /** It waits for the answer before it in its chat. */
  readonly waitsForOther: boolean
}

export interface Answers {
  /**
   * Writes a user's message behind `parentId` (undefined: at the start of the chat) and asks for its answer. Resolves once both
   * are on the disk, before anything is sent. Editing is this with the parent of the message that is edited.
   */
  send(chatId: string, parentId: string | undefined, text: string, extra?: SendExtra): Promise<Sent>
  /** Another answer to the user's message `parentId`: regenerating, also with another model. @returns the new message's id. */
  ask(chatId: string, parentId: string, other?: Partial<AskSettings>): Promise<string>
  /** Goes on with an answer that was stopped, cut off or failed, as a sibling that begins with its text. @returns its id. */
  goOn(messageId: string): Promise<string>
  /** Asks again for an answer that failed without a text, in its own place if nothing was said, else as a sibling. */
  retry(messageId: string): Promise<string>
  /** Ends an answer, or takes it back where it waits; what there is of it is kept. From any tab. */
  stop(messageId: string): Promise<void>
  /** Of an answer that comes now; undefined of one that has ended or is not known. Reading it subscribes to its coming and going. */
  live(messageId: string): LiveAnswer | undefined
  /** All that come now, by the id of their message. */
  readonly running: ReadonlySignal<ReadonlyMap<string, LiveAnswer>>
  readonly outbox: ReadonlySignal<readonly OutboxItem[]>
  /** Whether the gateway answered last time: undefined before the first try. */
  readonly isReachable: ReadonlySignal<boolean | undefined>
  /** A person's word on a device call that waits. @throws SkeinApiError. */
  confirm(call: string, approve: boolean): Promise<void>
  /** Takes up what was running or waiting when the page was left. Once, at the start. */
  resumeAll(): Promise<void>
  /** Looks at once whether the gateway answers: after sleep, a change of network, or when the user says so. */
  poke(): void
  /** Lets go of all, so that another tab can take over. */
  close(): void
}

export interface SendExtra {
  /** Texts beside what was typed, each with its name. */
  readonly attachments?: readonly { readonly name: string; readonly text: string }[]
}

export interface Sent {
  readonly userId: string
  readonly answerId: string
}
