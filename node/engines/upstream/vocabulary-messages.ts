/** What the agent and its vocabulary process say to each other, by structured clone. Both ends are of one build. */
import type { Prompt } from '../../../mesh/protocol/index.ts'
import type { WireError } from '../child/messages.ts'

export type VocabularyQuestion =
  /** First: the model file. */
  | { readonly type: 'open'; readonly path: string }
  | { readonly type: 'render'; readonly prompt: Prompt }
  | { readonly type: 'pieces'; readonly ids: readonly number[] }
  | { readonly type: 'tokenize'; readonly bytes: Uint8Array }

export interface VocabularyAnswers {
  readonly open: { readonly vocabularySize: number }
  readonly render: { readonly ids: readonly number[]; readonly text?: string }
  /** The bytes that each id adds to a text. */
  readonly pieces: readonly Uint8Array[]
  /** Absent when no ids make these bytes. */
  readonly tokenize: readonly number[] | undefined
}

export type VocabularyAsked = VocabularyQuestion & { readonly number: number }
export type VocabularyAnswered = { readonly number: number } & (
  { readonly value: VocabularyAnswers[VocabularyQuestion['type']] } | { readonly error: WireError }
)
