/**
 * Whether a server that has only the name of a model in common with a GGUF file here has its vocabulary: then an answer goes
 * on behind token ids, on either side. It is asked to tokenise a fixed set of texts and to write out ids from all over the
 * vocabulary, and must say in each case what the file says. Whoever agrees on all of it and still differs does so in tokens
 * that hardly any text has.
 */
import { Type } from 'typebox'
import { checker } from '../../../mesh/protocol/index.ts'
import type { UpstreamClient } from './http.ts'
import type { VocabularyTokens } from './vocabulary.ts'

/** Each is one that some pair of tokenizers with the same name has been seen to cut otherwise, or easily could. */
export const PROBES: readonly string[] = [
  // words, contractions and punctuation: the rule by which BPE cuts a text before it merges
  "It's what they've said: don't stop -- we'll (almost) see, won't we?",
  'HTTPServer camelCase snake_case SHOUTING iPhone',
  // numbers are cut into ones, threes or not at all
  '0 12 123 1234 12345 1234567890 3.14159 1,000,000 0x1F 2026-11-22',
  // runs of spaces, line ends and tabs are tokens of their own in some, and fall together in others
  'a  b   c    d\n\n\n\te\r\n    f \n',
  '        ',
  // a space in front of the first word is added by some
  ' hello',
  'hello',
  // code
  'for (let i = 0; i < n; ++i) { x[i] += f(a, "b"); } // =>\n#include <stdio.h>\n',
  'https://example.org/a?b=c&d=%20#e user@example.org',
  // scripts of two and three bytes a character, with and without spaces between words
  'Größe, français, naïve, łódź, çığ; Привет, мир; Καλημέρα; שלום; مرحبا',
  '你好，世界。今日は良い天気です。안녕하세요 สวัสดี नमस्ते',
  // characters outside the first plane, and several that make one
  '🪿 👩‍👩‍👧‍👦 🇩🇪 𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ✓',
  // one and the same letter written in two ways: a tokenizer that normalises makes them equal
  'e\u0301 \u00e9 \ufb01 \u212b A\u030a',
  // long words that a vocabulary has merges for
  'internationalization Donaudampfschifffahrtsgesellschaft aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',
  // control characters and what stands for a byte that is no character
  'a\u0000b\u0001c\u007fd\ufffde\u00a0f\u200bg\ufeffh',
]

const ASK_MS = 10_000

type Asked = Pick<UpstreamClient, 'ask'>

const id = Type.Integer({ minimum: 0, maximum: 2 ** 32 })
const isTokens = checker(Type.Object({ tokens: Type.Array(id, { maxItems: 4096 }) }))
const isText = checker(Type.Object({ prompt: Type.String({ maxLength: 65_536 }) }))

/** Ids of `text` in the vocabulary of a server as vLLM; `undefined` when it does not tell. @throws SkeinError as `ask`. */
export async function tokensAt(
  client: Asked,
  model: string,
  text: string,
  addsSpecial = false,
): Promise<readonly number[] | undefined> {
  const body = { model, prompt: text, add_special_tokens: addsSpecial }
  const answered = await client.ask('/tokenize', { body, withinMs: ASK_MS })
  return answered.status === 200 && isTokens(answered.body) ? answered.body.tokens : undefined
}

/**
 * Why the vocabulary of the server is another one than that of the file, or may be; `undefined` when they agree.
 *
 * @throws SkeinError ENGINE_CRASHED when there is no server, what the file's process throws.
 */
export async function disagreement(
  client: Asked,
  model: string,
  vocabulary: Pick<VocabularyTokens, 'facts' | 'plain'>,
): Promise<string | undefined> {
  const [facts, own] = [await vocabulary.facts(), await vocabulary.plain(PROBES)]
  const told = await Promise.all(PROBES.map((probe) => tokensAt(client, model, probe)))
  for (const [i, ids] of told.entries()) {
    if (ids === undefined) return 'the server does not tell its tokens'
    if (!equal(ids, own[i]!)) return `the server cuts ${JSON.stringify(PROBES[i])} otherwise`
  }
  const [begun, ...ends] = await Promise.all([
    tokensAt(client, model, 'a', true),
    ...facts.ends.map(({ name }) => tokensAt(client, model, name)),
  ])
  const [plain] = await vocabulary.plain(['a'])
  // some vocabularies put an end behind it as well
  const expected = facts.bos === undefined ? plain! : [facts.bos, ...plain!]
  if (begun === undefined || !equal(begun.slice(0, expected.length), expected))
    return 'the server begins texts with another token'
  if (!facts.ends.some((end, i) => equal(ends[i] ?? [], [end.id])))
    return 'the server knows none of the tokens that end an answer'
  return (await sameSample(client, model, facts.sample)) ? undefined : 'the server has other texts for some tokens'
}

/** White space is passed over: some servers tidy it up in what they write out. */
async function sameSample(
  client: Asked,
  model: string,
  sample: readonly { readonly id: number; readonly text: string }[],
): Promise<boolean> {
  const body = { model, tokens: sample.map((token) => token.id) }
  const answered = await client.ask('/detokenize', { body, withinMs: ASK_MS })
  const solid = (text: string): string => text.replaceAll(/\s+/g, '')
  const own = solid(sample.map(({ text }) => text).join(''))
  return answered.status === 200 && isText(answered.body) && solid(answered.body.prompt) === own
}

const equal = (a: readonly number[], b: readonly number[]): boolean =>
  a.length === b.length && a.every((each, i) => each === b[i])
