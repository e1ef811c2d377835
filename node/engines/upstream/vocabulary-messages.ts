/** What the agent and its vocabulary process say to each other, by structured clone. Both ends are of one build. */
import type { Prompt } from '../../../mesh/protocol/index.ts'
import type { WireError } from '../child/messages.ts'

export type VocabularyQuestion =
  /** First: the model file. */
  | { readonly type: 'open'; readonly path: string }
  | { readonly type: 'render'; readonly prompt: Prompt }
  | { readonly type: 'pieces'; readonly ids: readonly number[] }
  | { readonly type: 'tokenize'; readonly bytes: Uint8Array }
  /** Text of an answer, to go on behind. */
  | { readonly type: 'answer'; readonly text: string }
  /** Texts without markup, each alone. */
  | { readonly type: 'plain'; readonly texts: readonly string[] }

export interface VocabularyFacts {
  readonly vocabularySize: number
  /** Put in front of a text, where it is. */
  readonly bos: number | undefined
  /** End an answer, each with its name. */
  readonly ends: readonly { readonly id: number; readonly name: string }[]
  /** Ids of ordinary tokens from all over the vocabulary, the last one too, with the text that each adds. */
  readonly sample: readonly { readonly id: number; readonly text: string }[]
}

export interface VocabularyAnswers {
  readonly open: VocabularyFacts
  readonly render: { readonly ids: readonly number[]; readonly text?: string }
  /** The bytes that each id adds to a text. */
  readonly pieces: readonly Uint8Array[]
  /** Absent when no ids make these bytes. */
  readonly tokenize: readonly number[] | undefined
  readonly answer: readonly number[]
  readonly plain: readonly (readonly number[])[]
}

export type VocabularyAsked = VocabularyQuestion & { readonly number: number }
export type VocabularyAnswered = { readonly number: number } & (
  { readonly value: VocabularyAnswers[VocabularyQuestion['type']] } | { readonly error: WireError }
)
