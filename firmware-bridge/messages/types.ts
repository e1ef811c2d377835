/**
 * What a device and the bridge say to each other. Keys are short because they are on the wire: a board has a packet of 128
 * bytes. Enumerations are words here; CBOR has their places in the lists below.
 */
import type { DEVICE_STATES } from '../../mesh/protocol/index.ts'
import type { CompactError } from './compact-errors.ts'

export const MESSAGE_VERSION = 1

export const FORMATS = ['json', 'cbor'] as const
/** How a message is written: JSON objects for people who debug, CBOR arrays for boards that count bytes. */
export type Format = (typeof FORMATS)[number]

export const CHARSETS = ['ascii', 'latin1', 'utf8'] as const
export type Charset = (typeof CHARSETS)[number]

export const ANSWER_SHAPES = ['text', 'word', 'number', 'yesno', 'choice', 'json'] as const
export type AnswerShape = (typeof ANSWER_SHAPES)[number]

/** How an answer ended: the model was done, its length was up, or it was cut to fit the board. */
export const ANSWER_ENDS = ['stop', 'length', 'shaped'] as const
export type AnswerEnd = (typeof ANSWER_ENDS)[number]

/** `accepted` is said when the question is durable. */
export const ASK_STATES = ['accepted', 'queued', 'loading', 'running'] as const
export type AskState = (typeof ASK_STATES)[number]

/** A value of a capability as it travels. */
export type Value = number | boolean | string

/** A capability by its index in `hello`, or by its name. */
export type CapabilityRef = number | string

export interface Hello {
  readonly kind: 'hello'
  readonly v: typeof MESSAGE_VERSION
  /** Firmware version. */
  readonly fw: string
  /** Largest body in bytes that the device takes: over serial the CBOR payload, over MQTT the whole packet. */
  readonly rx: number
  /** Chunks that it takes in flight. */
  readonly win: number
  /** Random for each start. */
  readonly boot: number
  /** Number of its capabilities. */
  readonly n: number
  /** Over MQTT alone; serial frames are CBOR. */
  readonly fmt?: Format
  readonly cs?: Charset
  /** Longest sleep in s; 0 or absent: never. */
  readonly sleep?: number
  /** Id of the last command that it carried out since its start; 0 none. */
  readonly cmd?: number
  /** Capability strings; where they are absent, `caps` messages follow. */
  readonly caps?: readonly string[]
  readonly class?: string
}

export interface Welcome {
  readonly kind: 'welcome'
  readonly v: typeof MESSAGE_VERSION
  readonly boot: number
  /** Unix time in s. */
  readonly t: number
  /** The device says anything at least every `hb` s. */
  readonly hb: number
  /** Largest body in bytes that the bridge takes from it. */
  readonly rx: number
  readonly id: string
}

export interface Caps {
  readonly kind: 'caps'
  /** Index of the first. */
  readonly i: number
  readonly c: readonly string[]
}

export interface State {
  readonly kind: 'state'
  readonly s: (typeof DEVICE_STATES)[number]
  /** Of one that sleeps: it wakes in `t` s. */
  readonly t?: number
}

/** Answered by the same kind with the same number. */
export interface Ping {
  readonly kind: 'ping'
  readonly n: number
}

export interface Tele {
  readonly kind: 'tele'
  /** From 1 in each boot. */
  readonly n: number
  /** It wants an `ack`. */
  readonly a?: boolean
  readonly r: readonly (readonly [CapabilityRef, Value])[]
  /** s since it was read. */
  readonly age?: number
}

/** Every `tele` up to `n` is recorded. */
export interface Ack {
  readonly kind: 'ack'
  readonly n: number
}

export interface Cmd {
  readonly kind: 'cmd'
  /** Grows by device; never used again. */
  readonly id: number
  readonly c: CapabilityRef
  /** Absent: read it, or run it. */
  readonly v?: Value
  /** s that it stays valid. */
  readonly exp?: number
}

export interface Result {
  readonly kind: 'result'
  readonly id: number
  readonly ok: boolean
  /** After it was set, or as it was read. */
  readonly v?: Value
  readonly e?: CompactError
}

export interface Infer {
  readonly kind: 'infer'
  /** Of the device's choosing, from 1, one for each question of a boot. */
  readonly id: number
  /** The prompt, or its end where parts came before. */
  readonly q: string
  /** s until something must have come. */
  readonly ttl: number
  /** Bytes of the whole answer. */
  readonly max?: number
  readonly as?: AnswerShape
  /** Allowed answers. */
  readonly of?: readonly string[]
  readonly m?: string
  /** Tokens at most. */
  readonly tok?: number
  /** Number of `prompt` messages that came before. */
  readonly pn?: number
  /** JSON schema of the answer; in JSON alone. */
  readonly sch?: Readonly<Record<string, unknown>>
}

export interface Chunk {
  readonly kind: 'chunk'
  readonly id: number
  /** From 0. */
  readonly i: number
  /** The last. */
  readonly l: boolean
  readonly t: string
  /** Name of the node that answered; of the last one, where it fits. */
  readonly by?: string
  readonly fin?: AnswerEnd
}

export interface Credit {
  readonly kind: 'credit'
  readonly id: number
  /** Index awaited: everything before it has come. */
  readonly next: number
  /** Chunks that it takes from there. */
  readonly n: number
}

export interface Fail {
  readonly kind: 'fail'
  /** 0: it is of no question, but of what the device said otherwise. */
  readonly id: number
  readonly c: CompactError
  /** s after which it may be asked again. */
  readonly retry?: number
}

export interface Accept {
  readonly kind: 'accept'
  readonly id: number
  readonly s: AskState
  /** Place in the queue, or per cent of the loading. */
  readonly n?: number
}

export interface Cancel {
  readonly kind: 'cancel'
  readonly id: number
}

export interface Prompt {
  readonly kind: 'prompt'
  readonly id: number
  readonly i: number
  readonly t: string
}

/** Why the session ends. */
export interface Bye {
  readonly kind: 'bye'
  readonly c: CompactError
}

/** What a model at the bridge says about a sensor's last readings. */
export interface Classified {
  readonly kind: 'class'
  readonly c: CapabilityRef
  readonly label: string
  /** 0 to 1. */
  readonly score: number
}

/** A board without credentials asks to be one of the owner's devices. */
export interface Claim {
  readonly kind: 'claim'
  readonly v: typeof MESSAGE_VERSION
  /** Shown by the board, and by the bridge to its owner. */
  readonly code: string
  readonly fw?: string
  readonly class?: string
}

/** The answer to a claim that its owner approved. */
export interface Grant {
  readonly kind: 'grant'
  readonly id: string
  /** The credential. */
  readonly key: string
}

export interface Log {
  readonly kind: 'log'
  readonly t: string
}

export type Message =
  | Hello
  | Welcome
  | Caps
  | State
  | Ping
  | Tele
  | Ack
  | Cmd
  | Result
  | Infer
  | Chunk
  | Credit
  | Fail
  | Accept
  | Cancel
  | Prompt
  | Bye
  | Classified
  | Claim
  | Grant
  | Log

export type MessageKind = Message['kind']
export type MessageOf<K extends MessageKind> = Extract<Message, { readonly kind: K }>
/** Direction: `up` is from the device. */
export type Direction = 'up' | 'down'

/** Why bytes are no message, for counts and for the compact error that the device is told. */
export interface Refusal {
  readonly code: CompactError
  readonly why: string
}

export type Decoded<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly refusal: Refusal }

export const refuse = (why: string, code: CompactError = 'malformed'): { ok: false; refusal: Refusal } => ({
  ok: false,
  refusal: { code, why },
})

export type UpMessage = Hello | Caps | State | Ping | Tele | Result | Infer | Credit | Cancel | Prompt | Claim | Log
export type DownMessage = Welcome | Ping | Ack | Cmd | Chunk | Fail | Accept | Bye | Classified | Grant
