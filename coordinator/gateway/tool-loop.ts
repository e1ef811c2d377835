/**
 * Answers with devices: the model calls capabilities as tools, the calls are carried out here, and the model is asked again
 * with the results, in bounded rounds. Each round is a task of its own, admitted, placed, moved, charged and recorded like any
 * other; towards the client they are one answer, whatever its API. The client's own tools stay the client's: a turn that
 * calls both is given to the client, and its calls of devices are refused, since their results would be lost on the way.
 */
import type { FastifyRequest } from 'fastify'
import { LIMITS, SkeinError, type ChatMessage, type DeviceLevel, type Usage } from '../../mesh/protocol/index.ts'
import type { TaskEvent, TaskHandle, TaskRequest } from '../admission/index.ts'
import { isWithin, type Devices } from '../devices/index.ts'
import type { AnswerHead, StreamForm, WholeAnswer } from './answer-form.ts'
import { AnswerReader, type RoundMarks } from './answer-reader.ts'
import { deviceLevelOf } from './device-callers.ts'
import { orAborted, type GenerationComponents } from './exchange.ts'
import { chatChunk } from './openai-answers.ts'
import { callId } from './openai-tools.ts'
import { sseComment, sseData } from './sse.ts'
import type { EndEvent } from './task-inbox.ts'
import { carryOut, refusedCall, type Carried, type ToldCall } from './tool-loop-calls.ts'
import { RoundsText } from './tool-loop-text.ts'
import { deviceToolsOf, type DeviceTool } from './tool-loop-tools.ts'

/** What a request may do with devices, and the tools that this gives. */
export interface DeviceLoop {
  readonly devices: Devices
  readonly level: DeviceLevel
  readonly tools: ReadonlyMap<string, DeviceTool>
}

/** What a model is shown of a tool. */
export type ToolForModel = Pick<DeviceTool, 'name' | 'description' | 'parameters'>

/** Bodies that may ask for devices. */
export interface LoopBody {
  readonly skein?: { readonly devices?: DeviceLevel | undefined } | undefined
  readonly tool_choice?: unknown
  readonly tools?: readonly object[] | undefined
  readonly n?: unknown
  readonly store?: unknown
  readonly background?: unknown
  readonly logprobs?: unknown
  readonly include?: unknown
}

const unsupported = (param: string): SkeinError =>
  new SkeinError('UNSUPPORTED_PARAMETER', `${param} is not supported with skein.devices`, { param })

const LEVELS: readonly string[] = ['none', 'read', 'act']

/** @throws SkeinError INVALID_REQUEST when the header is wrong, or says other than the body. */
function askedLevel(body: LoopBody, header: string | string[] | undefined): DeviceLevel {
  const wanted = body.skein?.devices
  if (header === undefined) return wanted ?? 'none'
  const param = 'x-skein-devices'
  if (typeof header !== 'string' || !LEVELS.includes(header))
    throw new SkeinError('INVALID_REQUEST', `${param} must be ${LEVELS.join(', ')}`, { param })
  if (wanted !== undefined && wanted !== header)
    throw new SkeinError('INVALID_REQUEST', `skein.devices says other than the header ${param}`, {
      param: 'skein.devices',
    })
  return header as DeviceLevel
}

/**
 * The devices that a request asks for; nothing when it asks for none.
 *
 * @throws SkeinError INVALID_REQUEST; FORBIDDEN when the caller may not use devices so; UNSUPPORTED_PARAMETER for what does not
 *   go together with devices.
 */
export function deviceLoopOf(
  { devices }: GenerationComponents,
  request: FastifyRequest,
  body: LoopBody,
): DeviceLoop | undefined {
  const { headers, caller } = request
  const level = askedLevel(body, headers['x-skein-devices'])
  if (level === 'none' || isNone(body.tool_choice)) return undefined
  if (!isWithin(level, deviceLevelOf(caller)))
    throw new SkeinError('FORBIDDEN', `this key may not ${level} devices`, { param: 'skein.devices' })
  // a request that is made again would call again what was called
  if (headers['idempotency-key'] !== undefined) throw unsupported('idempotency-key')
  if (request.line || devices === undefined) throw unsupported('skein.devices')
  if (typeof body.n === 'number' && body.n > 1) throw unsupported('n')
  for (const param of ['store', 'background', 'logprobs'] as const) if (body[param] === true) throw unsupported(param)
  if (Array.isArray(body.include) && body.include.includes('message.output_text.logprobs')) throw unsupported('include')
  const own = new Set((body.tools ?? []).map(nameOf))
  const room = Math.min(LIMITS.deviceToolsMax, LIMITS.toolsMax - own.size)
  const tools = room > 0 ? deviceToolsOf(devices, level, own, room) : []
  if (tools.length === 0) return undefined
  return { devices, level, tools: new Map(tools.map((tool) => [tool.name, tool])) }
}

/** Of OpenAI's APIs, or of Anthropic's. */
const isNone = (choice: unknown): boolean =>
  choice === 'none' || (typeof choice === 'object' && (choice as { type?: unknown } | null)?.type === 'none')

/** Of a tool in any API. */
function nameOf(tool: object): string {
  const { name, function: named } = tool as { name?: unknown; function?: { name?: unknown } }
  return String(named?.name ?? name)
}

/** `body` with the tools of devices behind its own, each as `form` writes it in its API. */
export function withDeviceTools<B extends LoopBody>(
  body: B,
  loop: DeviceLoop | undefined,
  form: (tool: ToolForModel) => object,
): B {
  if (loop === undefined) return body
  return { ...body, tools: [...(body.tools ?? []), ...Array.from(loop.tools.values(), form)] }
}

/** A tool as OpenAI's chats and Ollama's have it. */
export const chatTool = ({ name, description, parameters }: ToolForModel): object => ({
  type: 'function',
  function: { name, description, parameters },
})

/** The answer of all rounds, as the handle of one task. */
export class LoopHandle implements TaskHandle {
  readonly isNew = true
  readonly thought?: RoundMarks
  /** Calls that were made, in their order. */
  readonly calls: ToldCall[] = []
  readonly #components: GenerationComponents
  readonly #request: FastifyRequest
  readonly #task: TaskRequest
  readonly #loop: DeviceLoop
  readonly #first: TaskHandle
  readonly #endsAtMs: number

  constructor(
    components: GenerationComponents,
    request: FastifyRequest,
    { task, loop, first }: { readonly task: TaskRequest; readonly loop: DeviceLoop; readonly first: TaskHandle },
  ) {
    this.#components = components
    this.#request = request
    this.#task = task
    this.#loop = loop
    this.#first = first
    this.#endsAtMs = components.clock.nowMs() + (task.deadlineMs ?? LIMITS.toolLoopMs)
    const { thought } = first
    if (thought) this.thought = { open: thought.open, close: thought.close, isOpen: false, hasRounds: true }
  }

  get taskId(): TaskHandle['taskId'] {
    return this.#first.taskId
  }

  get digest(): TaskHandle['digest'] {
    return this.#first.digest
  }

  get seed(): number {
    return this.#first.seed
  }

  get admitted(): Promise<void> {
    return this.#first.admitted
  }

  textBefore(): string {
    return ''
  }

  follow(_after: number, signal: AbortSignal = new AbortController().signal): AsyncIterable<TaskEvent> {
    return this.#rounds(signal)
  }

  async *#rounds(signal: AbortSignal): AsyncGenerator<TaskEvent, void, undefined> {
    const { tools } = this.#loop
    const text = new RoundsText((name) => tools.has(name), this.thought)
    const sums = new Sums()
    let handle = this.#first
    let messages = messagesOf(this.#task)
    for (let round = 1; ; round++) {
      const end = yield* this.#round(handle, text, sums, signal)
      const { deviceCalls } = text
      const hindrance = hindranceOf(round, end, text.clientCalls)
      if (deviceCalls.length === 0 || hindrance !== undefined) {
        for (const { name, arguments: given } of deviceCalls)
          yield this.#told(refusedCall(tools.get(name)!, given, hindrance!))
        // what was to be called was not: the answer is not whole
        const isCut = deviceCalls.length > 0 && text.clientCalls === 0
        return yield sums.end(end, isCut ? 'length' : end.finishReason)
      }
      const results: string[] = []
      for (const { name, arguments: given } of deviceCalls) {
        const carried = yield* this.#carryOut(tools.get(name)!, given, signal)
        yield this.#told(carried)
        results.push(carried.result)
      }
      messages = [...messages, ...turnOf(handle, text, results)]
      const left = sums.left(this.#task.maxTokens)
      if (left === 0) return yield sums.end(end, 'length')
      yield sums.say(text.next())
      handle = await this.#next(messages, left, signal)
    }
  }

  /** One round to its end. */
  async *#round(
    handle: TaskHandle,
    text: RoundsText,
    sums: Sums,
    signal: AbortSignal,
  ): AsyncGenerator<TaskEvent, EndEvent, undefined> {
    const { thought } = handle
    const reader = new AnswerReader({ ...(thought && { thought }), hasTools: true })
    for await (const event of handle.follow(0, signal)) {
      if (event.type === 'tokens') yield sums.say(text.write(reader.push(event.text)), event.count)
      else if (event.type === 'end') {
        yield sums.say(text.write([...reader.push(event.text), ...reader.end()]) + text.end())
        sums.add(event)
        return event
      } else yield event
    }
    throw new SkeinError('INTERNAL', 'the task ended without saying how')
  }

  async *#carryOut(
    tool: DeviceTool,
    given: string,
    signal: AbortSignal,
  ): AsyncGenerator<TaskEvent, Carried, undefined> {
    if (this.calls.length >= LIMITS.deviceToolCallsMax)
      return refusedCall(tool, given, `an answer has ${LIMITS.deviceToolCallsMax} calls at most`)
    const { devices, level } = this.#loop
    const init = { devices, level, origin: 'chat' as const, caller: this.#request.caller, signal }
    const carrying = carryOut(init, tool, given)
    yield { type: 'status', text: `call ${tool.name} ${given}` }
    for (;;) {
      const step = await carrying.next()
      if (step.done) return step.value
      yield { type: 'status', text: step.value }
    }
  }

  #told({ told, line }: Carried): TaskEvent {
    this.calls.push(told)
    return { type: 'status', text: line }
  }

  async #next(
    messages: readonly ChatMessage[],
    maxTokens: number | undefined,
    signal: AbortSignal,
  ): Promise<TaskHandle> {
    const { access, clock, counters, service } = this.#components
    const deadlineMs = Math.floor(this.#endsAtMs - clock.nowMs())
    if (deadlineMs <= 0) throw new SkeinError('TASK_EXPIRED', 'the answer did not end within its deadline')
    if (messages.length > LIMITS.messagesMax)
      throw new SkeinError('INVALID_REQUEST', `the conversation has more than ${LIMITS.messagesMax} messages`)
    access.countFurther(this.#request.caller, 1)
    const { prompt, format, ...task } = this.#task
    const next: TaskRequest = {
      ...task,
      prompt: { ...prompt, messages: [...messages] } as TaskRequest['prompt'],
      deadlineMs,
      ...(maxTokens !== undefined && { maxTokens }),
      ...(format && { format: freed(format) }),
    }
    const handle = await service.submit(next, signal)
    counters.tasks++
    await orAborted(handle.admitted, signal)
    return handle
  }
}

const messagesOf = ({ prompt }: TaskRequest): readonly ChatMessage[] => (prompt.kind === 'chat' ? prompt.messages : [])

/** Why calls of devices are not carried out. */
function hindranceOf(round: number, { finishReason }: EndEvent, clientCalls: number): string | undefined {
  if (clientCalls > 0) return 'not carried out: a tool of the client was called beside it'
  if (finishReason === 'length') return 'not carried out: the answer was cut'
  return round >= LIMITS.toolRoundsMax ? `not carried out: ${LIMITS.toolRoundsMax} rounds are over` : undefined
}

/** What a model that had to call may do when it has the result. */
function freed(format: NonNullable<TaskRequest['format']>): NonNullable<TaskRequest['format']> {
  if (format.kind !== 'tool-calls') return format
  const { content } = format
  return { kind: 'tool-calls', choice: 'auto', callsMax: LIMITS.answerToolCallsMax, ...(content && { content }) }
}

/** The turn as the model is shown it again. */
function turnOf({ taskId }: TaskHandle, { deviceCalls, said }: RoundsText, results: readonly string[]): ChatMessage[] {
  const toolCalls = deviceCalls.map((call, index) => ({ id: callId(taskId, index), ...call }))
  const { content, thought } = said
  return [
    { role: 'assistant', content, ...(thought !== '' && { thought }), toolCalls },
    ...results.map((result, index): ChatMessage => {
      return { role: 'tool', content: result, toolCallId: callId(taskId, index) }
    }),
  ]
}

/** What the rounds have come to. Places are those of one answer: each piece of text has its own. */
class Sums {
  #place = 0
  #usage: Usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 }
  #attempts = 0
  #first: EndEvent | undefined
  #decodeMs = 0

  say(text: string, count = 1): TaskEvent {
    const index = this.#place
    this.#place += Math.max(1, count)
    return { type: 'tokens', index, count: Math.max(1, count), position: this.#place, text }
  }

  add(end: EndEvent): void {
    const { promptTokens, cachedTokens, completionTokens, thoughtTokens } = end.usage
    const before = this.#usage
    const thoughts = (before.thoughtTokens ?? 0) + (thoughtTokens ?? 0)
    this.#usage = {
      promptTokens: before.promptTokens + promptTokens,
      cachedTokens: before.cachedTokens + cachedTokens,
      completionTokens: before.completionTokens + completionTokens,
      ...((thoughtTokens !== undefined || before.thoughtTokens !== undefined) && { thoughtTokens: thoughts }),
    }
    this.#attempts += end.attempts
    this.#first ??= end
    this.#decodeMs += end.timing.decodeMs
  }

  /** Tokens that may still be made. */
  left(maxTokens: number | undefined): number | undefined {
    return maxTokens === undefined ? undefined : Math.max(0, maxTokens - this.#usage.completionTokens)
  }

  end(last: EndEvent, finishReason: EndEvent['finishReason']): TaskEvent {
    const { queuedMs, firstTokenMs } = (this.#first ?? last).timing
    const timing = { queuedMs, firstTokenMs, decodeMs: this.#decodeMs }
    return { ...last, text: '', finishReason, usage: this.#usage, attempts: this.#attempts, timing }
  }
}

/** A whole answer with the calls that were made for it. */
export function withCalls(handle: TaskHandle, form: (answer: WholeAnswer) => object): (answer: WholeAnswer) => object {
  if (!(handle instanceof LoopHandle)) return form
  return (answer) => ({ ...form(answer), skein: { calls: handle.calls } })
}

/** A stream that tells at its end which calls were made: a chat by a chunk of its own, others by a comment. */
export function streamWithCalls(handle: TaskHandle, form: StreamForm, head: AnswerHead, isChat: boolean): StreamForm {
  if (!(handle instanceof LoopHandle)) return form
  const told = (): string => {
    const skein = { calls: handle.calls }
    // a form with a media type of its own has no comments of SSE
    if (!isChat) return form.contentType === undefined ? sseComment(`skein ${JSON.stringify(skein)}`) : ''
    return sseData(JSON.stringify({ ...chatChunk(head), choices: [], skein }))
  }
  return {
    ...(form.contentType !== undefined && { contentType: form.contentType }),
    ...(form.comment && { comment: (text: string) => form.comment!(text) }),
    open: () => form.open(),
    begin: () => form.begin(),
    text: (batch) => form.text(batch),
    end: async (end, tokens) => told() + (await form.end(end, tokens)),
    failure: async (error, isBreak) => told() + (await form.failure(error, isBreak)),
  }
}
