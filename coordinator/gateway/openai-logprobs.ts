/** Log probabilities in OpenAI's two shapes. A token may be part of a character: its `bytes` are exact, its text is not. */
import type { TokenLogprob } from '../../mesh/protocol/index.ts'

type TokenShare = Pick<TokenLogprob, 'bytes' | 'logprob'>

const decoder = new TextDecoder()

/** Bytes that are no UTF-8 become U+FFFD. */
const textOf = ({ bytes }: TokenShare): string => decoder.decode(bytes)

const share = (token: TokenShare): object => ({
  token: textOf(token),
  logprob: token.logprob,
  bytes: [...token.bytes],
})

const brief = (token: TokenShare): object => ({ token: textOf(token), logprob: token.logprob })

/** Each token with its likeliest neighbours. */
export const tokenLogprobs = (tokens: readonly TokenLogprob[]): object[] =>
  tokens.map((token) => ({ ...share(token), top_logprobs: token.top.map(share) }))

/** The same without their bytes, as the events of a response have them. */
export const eventLogprobs = (tokens: readonly TokenLogprob[]): object[] =>
  tokens.map((token) => ({ ...brief(token), top_logprobs: token.top.map(brief) }))

/** `choices[].logprobs` of a chat. */
export const chatLogprobs = (tokens: readonly TokenLogprob[]): object => ({
  content: tokenLogprobs(tokens),
  refusal: null,
})

/** `choices[].logprobs` of text completions; of a stream the parts add up, hence the offset is kept. */
export class CompletionLogprobs {
  readonly #top: number
  /** Keeps half a character until the token that ends it. */
  readonly #decoder = new TextDecoder()
  /** Of the next token in the text, in UTF-16 code units. */
  #offset = 0

  /** @param top how many of the likeliest tokens were asked for. */
  constructor(top: number) {
    this.#top = top
  }

  take(tokens: readonly TokenLogprob[]): object {
    return {
      tokens: tokens.map(textOf),
      token_logprobs: tokens.map(({ logprob }) => logprob),
      top_logprobs:
        this.#top === 0
          ? null
          : tokens.map(({ top }) => Object.fromEntries(top.map((each) => [textOf(each), each.logprob]))),
      text_offset: tokens.map(({ bytes }) => {
        const offset = this.#offset
        this.#offset += this.#decoder.decode(bytes, { stream: true }).length
        return offset
      }),
    }
  }
}
