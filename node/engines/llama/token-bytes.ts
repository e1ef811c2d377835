/**
 * The bytes of single tokens, which the detokeniser does not tell of a part of a character: it shows U+FFFD. They are
 * read from the token as its vocabulary writes it.
 */
import { LlamaVocabularyType, type LlamaModel, type Token } from 'node-llama-cpp'
import { CALL_CLOSE, CALL_OPEN } from '../../../mesh/protocol/index.ts'
import type { Detokenize } from '../answer-text.ts'
import { THOUGHT_MARKS } from './chat-template.ts'
import { vocabularyText } from './native.ts'

/** GPT-2's table: bytes that print stand for themselves, the others for the code points from 256 upward. */
const BYTE_OF_CODE_POINT: ReadonlyMap<number, number> = new Map(
  (() => {
    const isPrintable = (byte: number): boolean =>
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae
    let next = 0x100
    return Array.from({ length: 0x100 }, (_, byte): [number, number] => [isPrintable(byte) ? byte : next++, byte])
  })(),
)
/** How vocabularies of SentencePiece write a space. */
const SPACE = '\u2581'
/** How they write a byte that is no character. */
const BYTE_TOKEN = /^<0x([0-9A-F]{2})>$/

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

/** Of byte-level BPE. */
export const bytesOfByteLevel = (text: string): Uint8Array =>
  Uint8Array.from(
    [...text].flatMap((character) => {
      const byte = BYTE_OF_CODE_POINT.get(character.codePointAt(0)!)
      return byte === undefined ? [...utf8(character.replace(SPACE, ' '))] : [byte]
    }),
  )

/** Of SentencePiece. */
export function bytesOfPiece(text: string): Uint8Array {
  const byte = BYTE_TOKEN.exec(text)?.[1]
  return byte === undefined ? utf8(text.replaceAll(SPACE, ' ')) : Uint8Array.of(Number.parseInt(byte, 16))
}

/** A token's own bytes; of a special token its name. */
export function tokenBytes(model: LlamaModel, token: Token): Uint8Array {
  const { control, unknown, userDefined } = model.getTokenAttributes(token)
  if (control || unknown || userDefined) return utf8(vocabularyText(model, token))
  switch (model.vocabularyType) {
    case LlamaVocabularyType.bpe:
      return bytesOfByteLevel(vocabularyText(model, token))
    case LlamaVocabularyType.spm:
    case LlamaVocabularyType.ugm:
      return bytesOfPiece(vocabularyText(model, token))
    default:
      return utf8(model.detokenize([token], true))
  }
}

/** Part of an answer's text, in whatever kind of token a vocabulary has it. */
const PRINTED: ReadonlySet<string> = new Set([
  CALL_OPEN,
  CALL_CLOSE,
  ...THOUGHT_MARKS.flatMap(({ open, close }) => [open, close]),
])

/** The same, of an answer whose calls are written with `marks` too. */
export const printedWith = (marks: readonly string[]): ReadonlySet<string> => new Set([...PRINTED, ...marks])

/** What a token adds to the text of an answer: nothing when it is a special one. */
export function textBytes(model: LlamaModel, token: Token, printed = PRINTED): Uint8Array {
  const { control, unknown } = model.getTokenAttributes(token)
  const isSilent = unknown || (control && !printed.has(vocabularyText(model, token)))
  return isSilent ? new Uint8Array() : tokenBytes(model, token)
}

/** Control tokens that are printed all the same. */
function printedControls(model: LlamaModel, printed: ReadonlySet<string>): ReadonlySet<Token> {
  const ids = [...printed].flatMap((marker) => model.tokenize(marker, true, 'trimLeadingSpace'))
  return new Set(ids.filter((id) => model.getTokenAttributes(id).control && printed.has(vocabularyText(model, id))))
}

/**
 * Tokens of a text that was an answer's, to go on behind: marks that are tokens of their own become those tokens, all else is
 * plain. A vocabulary that puts a space in front of a text's first word does not here, since a prompt stands in front.
 */
export function answerTokenizer(model: LlamaModel): (text: string) => Token[] {
  const tokenOf = new Map<string, Token>()
  for (const mark of PRINTED) {
    const [id, ...more] = model.tokenize(mark, true, 'trimLeadingSpace')
    if (id === undefined || more.length > 0 || vocabularyText(model, id) !== mark) continue
    const { control, userDefined } = model.getTokenAttributes(id)
    if (control || userDefined) tokenOf.set(mark, id)
  }
  const plain = (text: string): Token[] => (text === '' ? [] : model.tokenize(text, false, 'trimLeadingSpace'))
  return (text) => {
    const tokens: Token[] = []
    let rest = text
    for (;;) {
      const [mark] = [...tokenOf.keys()]
        .filter((each) => rest.includes(each))
        .sort((a, b) => rest.indexOf(a) - rest.indexOf(b))
      if (mark === undefined) return [...tokens, ...plain(rest)]
      const at = rest.indexOf(mark)
      tokens.push(...plain(rest.slice(0, at)), tokenOf.get(mark)!)
      rest = rest.slice(at + mark.length)
    }
  }
}

/**
 * The text of an answer's tokens. That of byte-level BPE is read from the bytes: for some of its vocabularies the library
 * takes spaces in front of punctuation away, so that ` ,` loses a character when its tokens come one by one, and JSON its
 * comma.
 */
export function detokenizer(model: LlamaModel, printed = PRINTED): Detokenize {
  if (model.vocabularyType !== LlamaVocabularyType.bpe) {
    const controls = printedControls(model, printed)
    // a text of its own each: the library prints all control tokens or none
    return (ids) =>
      runs(ids as readonly Token[], controls)
        .map((run) => model.detokenize(run, controls.has(run[0]!)))
        .join('')
  }
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  return (ids) => decoder.decode(Buffer.concat((ids as readonly Token[]).map((id) => textBytes(model, id, printed))))
}

/** `ids` cut around those in `single`. */
function runs(ids: readonly Token[], single: ReadonlySet<Token>): Token[][] {
  const parts: Token[][] = []
  for (const id of ids) {
    const last = parts.at(-1)
    if (last === undefined || single.has(id) || single.has(last[0]!)) parts.push([id])
    else last.push(id)
  }
  return parts
}
