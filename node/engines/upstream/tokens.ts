/**
 * What stands between token ids, by which answers travel in the mesh, and a server that takes and gives text.
 *
 * A model whose weights are known has its own vocabulary (`vocabulary.ts`): ids mean what they mean on every node that has
 * the model, and an answer may go on there. Of any other model the text is all there is; it is cut into pieces of at most
 * four bytes, each of which is its own id, and larger than any vocabulary's: whoever reads an answer knows its pieces.
 */
import { LIMITS, SkeinError, type Prompt } from '../../../mesh/protocol/index.ts'
import type { Detokenize } from '../answer-text.ts'

/** A prompt as a server can be given it. */
export interface RenderedPrompt {
  /** How many tokens it is: counted, or estimated where nobody can count. */
  readonly tokens: number
  /** Of a model whose vocabulary is known. */
  readonly ids?: readonly number[]
  /** What a server that takes text makes those ids of; absent when it would make others, or the chat is its to render. */
  readonly text?: string
}

export interface Tokens {
  /** Ids are below it, and not below `firstId`. */
  readonly vocabularySize: number
  readonly firstId: number
  /** @throws SkeinError INVALID_REQUEST, ENGINE_FAILED when the prompt cannot be rendered. */
  render(prompt: Prompt): Promise<RenderedPrompt>
  /** To be awaited before ids made elsewhere are given to `detokenize`; ids that there are none of are passed over. */
  know(ids: readonly number[]): Promise<void>
  readonly detokenize: Detokenize
  /**
   * The ids of a piece of an answer, as UTF-8.
   *
   * @param ids those that the server told with it, if it did: used where they are those of the text.
   * @throws SkeinError ENGINE_FAILED when no ids make this text.
   */
  idsOf(bytes: Uint8Array, ids?: readonly number[]): Promise<readonly number[]>
  /** Ids of the text of an answer, to go on behind; `detokenize` knows them. */
  idsOfAnswer(text: string): Promise<readonly number[]>
  /** Ids that a server told alone. @throws SkeinError ENGINE_FAILED when there are no such. */
  known(ids: readonly number[]): Promise<readonly number[]>
  /** Whether the model ends its answers with `id`; known of ids for which `know` or `known` was awaited. */
  isEnd(id: number): boolean
  /** All ids by which it does. */
  ends(): Promise<readonly number[]>
  /** The bytes at the end of `ids` that begin a character and do not end it. */
  unfinished(ids: readonly number[]): Uint8Array
  /** Gives what it holds back. */
  close(): Promise<void>
}

/** Bytes of a piece; UTF-8 never has the byte that fills up a shorter one. */
const PIECE_BYTES = 4
const FILLER = 0xff
const PIECES = 2 ** 32

/** The tokens of a model that is known by its server alone. */
export class TextTokens implements Tokens {
  readonly vocabularySize = PIECES
  readonly firstId = LIMITS.vocabularyTokensMax

  render(prompt: Prompt): Promise<RenderedPrompt> {
    const parts = prompt.kind === 'text' ? [prompt.text] : prompt.messages.map(({ content }) => content)
    const bytes = parts.reduce((sum, part) => sum + Buffer.byteLength(part), 0)
    return Promise.resolve({
      tokens: Math.max(1, Math.ceil(bytes / PIECE_BYTES)),
      ...(prompt.kind === 'text' && { text: prompt.text }),
    })
  }

  know(): Promise<void> {
    return Promise.resolve()
  }

  readonly detokenize: Detokenize = (ids) => {
    const bytes = Buffer.alloc(ids.length * PIECE_BYTES)
    ids.forEach((id, i) => bytes.writeUInt32LE(id, i * PIECE_BYTES))
    return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes.filter((byte) => byte !== FILLER))
  }

  idsOf(bytes: Uint8Array): Promise<readonly number[]> {
    const pieces: number[] = []
    for (let at = 0; at < bytes.length;) {
      const end = endOfPiece(bytes, at)
      const piece = Buffer.alloc(PIECE_BYTES, FILLER)
      piece.set(bytes.subarray(at, end))
      pieces.push(piece.readUInt32LE())
      at = end
    }
    return Promise.resolve(pieces)
  }

  idsOfAnswer(text: string): Promise<readonly number[]> {
    return this.idsOf(Buffer.from(text))
  }

  known(): Promise<readonly number[]> {
    return Promise.reject(
      new SkeinError('ENGINE_FAILED', 'the server told tokens of a vocabulary that is not known here'),
    )
  }

  isEnd(): boolean {
    return false
  }

  ends(): Promise<readonly number[]> {
    return Promise.resolve([])
  }

  /** Texts come in whole characters. */
  unfinished(): Uint8Array {
    return new Uint8Array()
  }

  close(): Promise<void> {
    return Promise.resolve()
  }
}

/** Pieces have whole characters, so that an answer may end behind any; and no NUL in their last byte, which would make them small. */
function endOfPiece(bytes: Uint8Array, at: number): number {
  let end = Math.min(at + PIECE_BYTES, bytes.length)
  while (end < bytes.length && end > at + 1 && (bytes[end]! & 0xc0) === 0x80) end--
  return end === at + PIECE_BYTES && bytes[end - 1] === 0 ? end - 1 : end
}

export const noSuchText = (): SkeinError =>
  new SkeinError('ENGINE_FAILED', 'the server gave a text that the vocabulary of its model cannot make')
