/**
 * How each kind of server is asked for an answer, and what its events mean. Every sampling field is sent, since a default
 * of the server would change an answer in its middle; stop strings are never sent, since a server would look for them in
 * its own part of the answer alone. A stream that ends without saying why has died.
 */
import { createHash } from 'node:crypto'
import { Type } from 'typebox'
import {
  checker,
  LIMITS,
  SkeinError,
  type FinishReason,
  type Prompt,
  type Sampling,
  type Thinking,
} from '../../../mesh/protocol/index.ts'
import { saidBy, type Framing } from './http.ts'
import { biasFor } from './penalties.ts'
import type { ServerKind } from './probe.ts'
import type { RenderedPrompt } from './tokens.ts'

/** What an answer is asked with. */
export interface Question {
  /** As the server calls it. */
  readonly model: string
  readonly prompt: Prompt
  readonly rendered: RenderedPrompt
  /** The answer so far, as ids of the model's vocabulary, and its text. */
  readonly answer: readonly number[]
  readonly answerText: string
  /** Index in the answer of the next token. */
  readonly index: number
  /** The answer so far in the server's vocabulary, for penalties that it counts in its own part alone; where that is known. */
  readonly counted: readonly number[]
  readonly sampling: Sampling
  /** Of what is still to come; 0 to read the prompt alone. */
  readonly maxTokens: number
  readonly contextTokens: number
  readonly isEndless: boolean
}

export interface ServerRequest {
  readonly path: string
  readonly body: object
  readonly framing: Framing
}

/** What one event told. */
export interface Heard {
  readonly text: string
  /** What the server tells of the model's thoughts, beside `text`: it comes before. */
  readonly thought?: string
  /** The tokens of `text`, or the last of them. */
  readonly ids?: readonly number[]
  /** Of the prompt. */
  readonly prefill?: { readonly done: number; readonly total: number; readonly cached: number }
  readonly finishReason?: FinishReason
}

export interface Dialect {
  /** Whether prompts travel as token ids; by text otherwise. */
  readonly isByIds: boolean
  /** The answer comes as ids alone. */
  readonly hearsIds?: boolean
  /** @throws SkeinError ENGINE_FAILED when the server cannot be asked this. */
  request(question: Question): ServerRequest
  /** @throws SkeinError ENGINE_FAILED or ENGINE_CRASHED for an event that says that the answer ends otherwise than whole. */
  hear(event: unknown): Heard
}

/** Means "any" to llama.cpp. */
const RANDOM_SEED = 0xffff_ffff

/**
 * The seed of an answer that goes on: a generator that starts again would draw the numbers again that the answer began
 * with.
 */
export function seedAt(seed: number, index: number): number {
  const own = index === 0 ? seed : createHash('sha256').update(`${seed}:${index}`).digest().readUInt32LE()
  return own === RANDOM_SEED ? RANDOM_SEED - 1 : own
}

const count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
const text = Type.String()

const isLlamaEvent = checker(
  Type.Object({
    content: text,
    tokens: Type.Optional(Type.Array(Type.Integer())),
    stop: Type.Boolean(),
    stop_type: Type.Optional(text),
    prompt_progress: Type.Optional(Type.Object({ total: count, cache: count, processed: count })),
  }),
)
const isOllamaEvent = checker(
  Type.Object({
    response: Type.Optional(text),
    thinking: Type.Optional(text),
    message: Type.Optional(Type.Object({ content: Type.Optional(text), thinking: Type.Optional(text) })),
    done: Type.Boolean(),
    done_reason: Type.Optional(text),
  }),
)
const isHopsExceeded = checker(Type.Object({ error: Type.Object({ code: Type.Literal('hops_exceeded') }) }))
const optionalText = Type.Optional(Type.Union([text, Type.Null()]))
const isOpenAiEvent = checker(
  Type.Object({
    choices: Type.Array(
      Type.Object({
        text: optionalText,
        delta: Type.Optional(
          Type.Object({ content: optionalText, reasoning_content: optionalText, reasoning: optionalText }),
        ),
        finish_reason: optionalText,
      }),
      { maxItems: 1 },
    ),
  }),
)

/**
 * Of chats that a server renders: thoughts that it tells apart are put back into the text, between these marks, which is
 * also how most models write them.
 */
export const UPSTREAM_THINKING: Thinking = {
  open: '<think>',
  close: '</think>',
  opens: { unsaid: false, on: false, off: false },
}

/** Puts the thoughts that a server tells apart back in front of what it says. One for each question. */
export class ThoughtJoiner {
  #state: 'begin' | 'thought' | 'said'

  /** @param answerText what the answer has been so far. */
  constructor(answerText: string) {
    this.#state = answerText === '' ? 'begin' : 'said'
  }

  /** The text of the answer that an event stands for. */
  push({ text, thought = '', finishReason }: Heard): string {
    const { open, close } = UPSTREAM_THINKING
    let joined = ''
    // once it has spoken, a thought has no place any more
    if (thought !== '' && this.#state !== 'said') {
      joined += this.#state === 'begin' ? `${open}\n${thought}` : thought
      this.#state = 'thought'
    }
    if (text !== '' || (finishReason === 'stop' && this.#state === 'thought')) {
      joined += this.#state === 'thought' ? `\n${close}\n\n${text}` : text
      this.#state = 'said'
    }
    return joined
  }
}

/** llama.cpp's own server: token ids in both directions. */
const LLAMA_SERVER: Dialect = {
  isByIds: true,
  request: ({ rendered, answer, index, sampling, maxTokens, contextTokens, isEndless }) => ({
    path: '/completion',
    framing: 'sse',
    body: {
      prompt: [...(rendered.ids ?? []), ...answer],
      stream: true,
      return_tokens: true,
      return_progress: true,
      cache_prompt: true,
      n_predict: maxTokens,
      stop: [],
      ignore_eos: isEndless,
      seed: seedAt(sampling.seed, index),
      temperature: sampling.temperature,
      top_k: sampling.topK,
      top_p: sampling.topP,
      min_p: sampling.minP,
      presence_penalty: sampling.presencePenalty,
      frequency_penalty: sampling.frequencyPenalty,
      repeat_penalty: sampling.repeatPenalty ?? 1,
      repeat_last_n: countedTokens(sampling, contextTokens),
      typical_p: 1,
      top_n_sigma: -1,
      xtc_probability: 0,
      dry_multiplier: 0,
      dynatemp_range: 0,
      mirostat: 0,
    },
  }),
  hear: (event) => {
    if (!isLlamaEvent(event)) throw unexpected(event)
    const { prompt_progress: progress } = event
    // such an event names a token that nobody drew
    if (progress) {
      return { text: '', prefill: { done: progress.processed, total: progress.total, cached: progress.cache } }
    }
    const ids = event.tokens ?? []
    if (!event.stop) return { text: event.content, ids }
    return { text: event.content, ids, finishReason: reasonOf(event.stop_type, { eos: 'stop', limit: 'length' }) }
  },
}

/**
 * Ollama's own API: its compatible one puts even a plain prompt into a template, and cuts off what is longer than a context
 * that nobody named.
 */
const OLLAMA: Dialect = {
  isByIds: false,
  request: (question) => {
    const { model, rendered, index, answerText, sampling, maxTokens, contextTokens, prompt } = question
    const isChat = rendered.ids === undefined && prompt.kind === 'chat'
    return {
      path: isChat ? '/api/chat' : '/api/generate',
      framing: 'lines',
      body: {
        model,
        ...(isChat ? chatBody('ollama', question) : { prompt: textOf(rendered) + answerText, raw: true }),
        stream: true,
        truncate: false,
        shift: false,
        options: {
          // another one than that of before would make it load the model again
          num_ctx: contextTokens,
          num_predict: Math.max(1, maxTokens),
          stop: [],
          seed: seedAt(sampling.seed, index),
          temperature: sampling.temperature,
          top_k: sampling.topK,
          top_p: sampling.topP,
          min_p: sampling.minP,
          typical_p: 1,
          presence_penalty: sampling.presencePenalty,
          frequency_penalty: sampling.frequencyPenalty,
          repeat_penalty: sampling.repeatPenalty ?? 1,
          repeat_last_n: countedTokens(sampling, contextTokens),
        },
      },
    }
  },
  hear: (event) => {
    if (!isOllamaEvent(event)) throw unexpected(event)
    const told = event.response ?? event.message?.content ?? ''
    const thought = event.thinking ?? event.message?.thinking ?? ''
    if (!event.done) return { text: told, thought }
    return { text: told, thought, finishReason: reasonOf(event.done_reason, { stop: 'stop', length: 'length' }) }
  },
}

/** OpenAI's completions and chat completions, with the extensions of `kind`. */
function openAi(kind: ServerKind): Dialect {
  return {
    isByIds: false,
    request: (question) => {
      // a chat whose vocabulary is known has been rendered, or cannot be
      const isChat = question.rendered.ids === undefined && question.prompt.kind === 'chat'
      const { model, rendered, answerText, maxTokens, contextTokens } = question
      const body = isChat ? chatBody(kind, question) : { prompt: textOf(rendered) + answerText }
      // how much fits behind a chat of unknown tokens the server knows alone, and refuses whoever asks for more
      const isOpen = isChat && maxTokens >= contextTokens
      const limit = isOpen ? {} : { max_tokens: Math.max(1, maxTokens) }
      const common = { model, stream: true, ...limit, ...samplingFor(kind, question) }
      return {
        path: isChat ? '/v1/chat/completions' : '/v1/completions',
        framing: 'sse',
        body: { ...body, ...common },
      }
    },
    hear: (event) => {
      if (!isOpenAiEvent(event) || saidBy(event) !== undefined) throw unexpected(event)
      const [choice] = event.choices
      const told = choice?.text ?? choice?.delta?.content ?? ''
      // the one name is DeepSeek's and llama.cpp's, the other that of newer vLLMs
      const thought = choice?.delta?.reasoning_content ?? choice?.delta?.reasoning ?? ''
      // `abort`: the server was told to stop, the model was not done
      if (!choice?.finish_reason) return { text: told, thought }
      return { text: told, thought, finishReason: reasonOf(choice.finish_reason, { stop: 'stop', length: 'length' }) }
    },
  }
}

/** Servers that go on behind a last message of the assistant, and what tells them to. */
const GOES_ON: Readonly<Partial<Record<ServerKind, object>>> = {
  vllm: { continue_final_message: true, add_generation_prompt: false },
  'llama-server': {},
}

function chatBody(kind: ServerKind, { prompt, answerText }: Question): object {
  if (prompt.kind !== 'chat') throw unrenderable()
  const messages = prompt.messages.map(({ role, content, thought }) => ({
    role,
    content,
    ...(thought !== undefined && { [kind === 'ollama' ? 'thinking' : 'reasoning_content']: thought }),
  }))
  const wish = thinkingSwitch(kind, prompt.thinking?.isOn)
  if (answerText === '') return { messages, ...wish }
  // a template would leave the thought out, or a server take the rest of the answer for one
  if (answerText.trimStart().startsWith(UPSTREAM_THINKING.open))
    throw new SkeinError('NOT_CONTINUABLE', 'a server cannot go on behind thoughts that it told apart')
  const how = GOES_ON[kind]
  if (how === undefined)
    throw new SkeinError('NOT_CONTINUABLE', `a server of the kind ${kind} cannot go on in the middle of an answer`)
  return { messages: [...messages, { role: 'assistant', content: answerText }], ...how, ...wish }
}

/** What tells a server whether to think; one that knows no such thing may refuse to be asked. */
function thinkingSwitch(kind: ServerKind, isOn: boolean | undefined): object {
  if (isOn === undefined) return {}
  if (kind === 'vllm' || kind === 'llama-server') return { chat_template_kwargs: { enable_thinking: isOn } }
  // of a model that cannot think it takes this alone
  return kind === 'ollama' && !isOn ? { think: false } : {}
}

/** Servers that have a penalty of repeats under a name that we know; others pass over what they do not know. */
export const penalizesRepeats = (kind: ServerKind): boolean =>
  ['vllm', 'llama-server', 'llama-cpp-python', 'lm-studio', 'ollama'].includes(kind)

/** A server counts all of its penalties over the same tokens: where one is OpenAI's, over all that it has. */
const countedTokens = (
  { repeatPenalty, presencePenalty, frequencyPenalty }: Sampling,
  contextTokens: number,
): number =>
  repeatPenalty !== undefined && presencePenalty === 0 && frequencyPenalty === 0
    ? LIMITS.repeatPenaltyTokens
    : contextTokens

/** Every field of sampling, by the names that servers of this kind have for them. */
export function samplingFor(kind: ServerKind, question: Question): object {
  const { sampling, index, contextTokens, isEndless } = question
  const { temperature, topP: top_p, topK, minP: min_p, presencePenalty, frequencyPenalty, repeatPenalty = 1 } = sampling
  const common = {
    temperature,
    top_p,
    presence_penalty: presencePenalty,
    frequency_penalty: frequencyPenalty,
    seed: seedAt(sampling.seed, index),
  }
  switch (kind) {
    case 'vllm':
      // its draws are keyed by (seed, position): the same seed goes on with the same draws
      return {
        ...common,
        seed: sampling.seed,
        top_k: topK === 0 ? -1 : topK,
        min_p,
        repetition_penalty: repeatPenalty,
        ignore_eos: isEndless,
        ...biasFor(question),
      }
    case 'llama-server':
      return {
        ...common,
        top_k: topK,
        min_p,
        repeat_penalty: repeatPenalty,
        repeat_last_n: countedTokens(sampling, contextTokens),
        ignore_eos: isEndless,
      }
    case 'llama-cpp-python':
      return { ...common, top_k: topK, min_p, repeat_penalty: repeatPenalty, mirostat_mode: 0 }
    case 'lm-studio':
      return { ...common, top_k: topK, min_p, repeat_penalty: repeatPenalty }
    default:
      return { ...common, ...(topK > 0 && { top_k: topK }), ...(min_p > 0 && { min_p }) }
  }
}

/**
 * How a server of this kind is spoken to.
 *
 * @param hasVocabulary whether prompts are rendered here; the server renders them otherwise.
 */
export function dialectOf(kind: ServerKind, hasVocabulary: boolean): Dialect {
  if (kind === 'ollama') return OLLAMA
  return kind === 'llama-server' && hasVocabulary ? LLAMA_SERVER : openAi(kind)
}

function textOf({ text: told }: RenderedPrompt): string {
  if (told === undefined) throw unrenderable()
  return told
}

/** Not the caller's fault: a node that takes ids can be asked it. */
const unrenderable = (): SkeinError =>
  new SkeinError('ENGINE_FAILED', 'the server takes text alone, and would read markup in what this prompt says')

/** @throws SkeinError ENGINE_CRASHED for a reason that is no whole end. */
export function reasonOf(said: string | undefined, known: Readonly<Record<string, FinishReason>>): FinishReason {
  const reason = said === undefined ? undefined : known[said]
  if (reason !== undefined) return reason
  throw new SkeinError('ENGINE_CRASHED', `the server ended the answer with ${JSON.stringify(said)?.slice(0, 64)}`)
}

/** What an event that means nothing, or an error, becomes. */
export function unexpected(event: unknown): SkeinError {
  const said = saidBy(event)
  // of another mesh, whose answer had begun as a stream before it was refused further on
  const isCircle = isHopsExceeded(event)
  return new SkeinError(
    isCircle ? 'HOPS_EXCEEDED' : 'ENGINE_FAILED',
    said === undefined ? 'an event of an unknown form' : `the server said: ${said}`,
  )
}
