/**
 * Anthropic's message object and the events of its stream. Both are made of blocks: a run of thought, of content, or one call
 * of a tool. Of an answer nothing but its end is counted, so that a stream begins with no usage and ends with all of it.
 */
import { SkeinError, type TaskId, type Usage } from '../../mesh/protocol/index.ts'
import type { AnswerForms, AnswerHead, StreamForm, StreamStart, WholeAnswer } from './answer-form.ts'
import { AnswerReader, readWhole, type ReadPart } from './answer-reader.ts'
import { errorEvent } from './anthropic-errors.ts'
import { callId, jsonObject } from './openai-tools.ts'
import { sseComment, sseEvent } from './sse.ts'
import type { Batch, EndEvent } from './task-inbox.ts'

/** How an answer is to be read, and what of its thoughts the client asked to see. */
export interface MessageInit {
  readonly hasTools: boolean
  /** `omitted`: that there are some, without their text. */
  readonly thoughts: 'whole' | 'omitted' | 'none'
  /** The stop strings of the request. */
  readonly stops: readonly string[]
}

/** Clients give thoughts back only with a signature. Ours are believed as they come, and nothing is signed. */
const SIGNATURE = 'unsigned'

/** How the last token or stop string ended an answer. */
type Ended = Pick<WholeAnswer, 'finishReason' | 'stopIndex'>

const idOf = (taskId: TaskId): string => taskId.replace('task_', 'msg_')

const PING = sseEvent('ping', JSON.stringify({ type: 'ping' }))

const textBlock = (text: string): object => ({ type: 'text', text, citations: null })

const thoughtBlock = (thinking: string, signature: string): object => ({ type: 'thinking', thinking, signature })

const toolBlock = (taskId: TaskId, index: number, name: string, input: object): object => ({
  type: 'tool_use',
  id: callId(taskId, index, 'toolu_'),
  name,
  input,
  caller: { type: 'direct' },
})

/** Tokens of the prompt that a node had in its prefix cache are counted apart; what it adds to that is not told. */
const usageBody = ({ promptTokens, cachedTokens, completionTokens, thoughtTokens }: Usage): object => ({
  input_tokens: promptTokens - cachedTokens,
  cache_creation_input_tokens: 0,
  cache_read_input_tokens: cachedTokens,
  output_tokens: completionTokens,
  output_tokens_details: thoughtTokens === undefined ? null : { thinking_tokens: thoughtTokens },
  server_tool_use: null,
})

const NO_USAGE: Usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 }

/** Why an answer ended. One that ended by itself and calls tools waits for their results. */
interface Stop {
  readonly stop_reason: string | null
  readonly stop_sequence: string | null
}

const NO_STOP: Stop = { stop_reason: null, stop_sequence: null }

function stopOf({ finishReason, stopIndex }: Ended, calls: number, { stops }: MessageInit): Stop {
  const stopped = stopIndex === undefined ? undefined : stops[stopIndex]
  if (stopped !== undefined) return { stop_reason: 'stop_sequence', stop_sequence: stopped }
  const reason = finishReason === 'length' ? 'max_tokens' : calls > 0 ? 'tool_use' : 'end_turn'
  return { stop_reason: reason, stop_sequence: null }
}

const messageBody = ({ taskId, model }: AnswerHead, content: readonly object[], stop: Stop, usage: Usage): object => ({
  id: idOf(taskId),
  type: 'message',
  role: 'assistant',
  model,
  content,
  ...stop,
  stop_details: null,
  container: null,
  diagnostics: null,
  usage: { ...usageBody(usage), cache_creation: null, inference_geo: null, service_tier: null, speed: null },
})

/** Parts of one kind in a row as one; of calls the arguments. */
function runsOf(parts: readonly ReadPart[], { thoughts }: MessageInit): ReadPart[] {
  const runs: ReadPart[] = []
  for (const part of parts) {
    if (part.kind === 'thought' && thoughts === 'none') continue
    const last = runs.at(-1)
    if (last && last.kind === part.kind && last.kind !== 'call' && part.kind !== 'call')
      runs[runs.length - 1] = { ...last, text: last.text + part.text }
    else runs.push(part)
  }
  return runs
}

/** @throws SkeinError ENGINE_FAILED for arguments that no client could read, of an answer that was not cut. */
function inputOf(text: string, { finishReason, stopIndex }: Ended): object {
  const input = jsonObject(text)
  if (input === undefined && finishReason === 'stop' && stopIndex === undefined)
    throw new SkeinError('ENGINE_FAILED', 'the model called a tool with arguments that are no JSON object')
  return input ?? {}
}

function blocksOf(
  runs: readonly ReadPart[],
  { taskId }: AnswerHead,
  ended: Ended,
  { thoughts }: MessageInit,
): object[] {
  return runs.flatMap((run, i): object[] => {
    if (run.kind === 'content') return [textBlock(run.text)]
    if (run.kind === 'thought') return [thoughtBlock(thoughts === 'omitted' ? '' : run.text, SIGNATURE)]
    if (run.kind === 'arguments') return []
    const next = runs[i + 1]
    const given = next?.kind === 'arguments' ? next.text : ''
    return [toolBlock(taskId, run.index, run.name, inputOf(given, ended))]
  })
}

function wholeMessage(head: AnswerHead, answer: WholeAnswer, init: MessageInit): object {
  const { thought } = head
  const parts = readWhole(answer.text, { ...(thought && { thought }), hasTools: init.hasTools })
  const calls = parts.filter(({ kind }) => kind === 'call').length
  const blocks = blocksOf(runsOf(parts, init), head, answer, init)
  return messageBody(head, blocks, stopOf(answer, calls, init), answer.usage)
}

export const messageForms = (init: MessageInit): AnswerForms => ({
  whole: (head, answer) => wholeMessage(head, answer, init),
  stream: (start) => new MessageStream(start, init),
})

/** The events of one message, from its beginning: who comes back reads them all again. */
class MessageStream implements StreamForm {
  readonly #start: StreamStart
  readonly #init: MessageInit
  readonly #reader: AnswerReader
  /** Of the newest block; one that is open takes what fits its kind. */
  #index = -1
  #open: 'thought' | 'content' | 'call' | undefined

  constructor(start: StreamStart, init: MessageInit) {
    const { thought } = start
    this.#start = start
    this.#init = init
    this.#reader = new AnswerReader({ ...(thought && { thought }), hasTools: init.hasTools })
  }

  /** Words for people, and an event for what waits for events alone. */
  comment(text: string): string {
    return sseComment(text) + PING
  }

  open(): string {
    return event('message_start', { message: messageBody(this.#start, [], NO_STOP, NO_USAGE) })
  }

  begin(): string {
    return ''
  }

  text({ text }: Batch): string {
    return this.#write(this.#reader.push(text))
  }

  end(ended: EndEvent): string {
    const rest = this.#write(this.#reader.end()) + this.#close()
    const delta = { ...stopOf(ended, this.#reader.calls, this.#init), stop_details: null, container: null }
    return rest + event('message_delta', { delta, usage: usageBody(ended.usage) }) + event('message_stop', {})
  }

  failure(error: SkeinError): string {
    return errorEvent(error, this.#start.requestId)
  }

  #write(parts: readonly ReadPart[]): string {
    return runsOf(parts, this.#init)
      .map((run) => this.#run(run))
      .join('')
  }

  #run(run: ReadPart): string {
    switch (run.kind) {
      case 'content':
        return this.#into('content', textBlock('')) + this.#delta({ type: 'text_delta', text: run.text })
      case 'thought': {
        const opening = this.#into('thought', thoughtBlock('', ''))
        return this.#init.thoughts === 'omitted'
          ? opening
          : opening + this.#delta({ type: 'thinking_delta', thinking: run.text })
      }
      case 'call':
        return this.#close() + this.#into('call', toolBlock(this.#start.taskId, run.index, run.name, {}))
      case 'arguments':
        return this.#delta({ type: 'input_json_delta', partial_json: run.text })
    }
  }

  /** The beginning of a block, unless one of its kind is open. */
  #into(kind: 'thought' | 'content' | 'call', block: object): string {
    if (this.#open === kind) return ''
    const closing = this.#close()
    this.#open = kind
    this.#index++
    return closing + event('content_block_start', { index: this.#index, content_block: block })
  }

  #close(): string {
    if (this.#open === undefined) return ''
    const signature = this.#open === 'thought' ? this.#delta({ type: 'signature_delta', signature: SIGNATURE }) : ''
    this.#open = undefined
    return signature + event('content_block_stop', { index: this.#index })
  }

  #delta(delta: object): string {
    return event('content_block_delta', { index: this.#index, delta })
  }
}

const event = (type: string, fields: object): string => sseEvent(type, JSON.stringify({ type, ...fields }))
