/** What is asked of a model, and what comes back. Names are ours; `docs/API.md` has those of the wire. */

export interface ToolCall {
  readonly id: string
  readonly name: string
  /** JSON of an object, as the model wrote it. */
  readonly arguments: string
}

export interface ChatMessage {
  readonly role: 'system' | 'developer' | 'user' | 'assistant' | 'tool'
  readonly content: string
  /** Of an assistant. */
  readonly toolCalls?: readonly ToolCall[]
  /** Of a tool: the call whose result its content is. */
  readonly toolCallId?: string
}

export interface Tool {
  readonly name: string
  readonly description?: string
  /** JSON Schema of an object. */
  readonly parameters: object
}

/** What every request may ask of the mesh. */
export interface MeshWishes {
  /** Never sent to a rented machine. */
  readonly localOnly?: boolean
  readonly priority?: 'interactive' | 'default' | 'bulk'
  /** From now until the answer has to be whole, in ms. */
  readonly deadlineMs?: number
  /** What it may cost at most, in the owner's currency. */
  readonly maxCost?: number
  /**
   * What the model may do with devices while it answers. Such an answer is asked for once: after a break nobody knows what was
   * done, and asking again would do it again.
   */
  readonly devices?: 'none' | 'read' | 'act'
}

export interface ChatRequest extends MeshWishes {
  readonly model: string
  readonly messages: readonly ChatMessage[]
  readonly maxTokens?: number
  /** 0 is greedy. */
  readonly temperature?: number
  readonly topP?: number
  /** The likeliest tokens that are drawn from; all when absent. */
  readonly topK?: number
  readonly minP?: number
  /** How much a model that thinks is to think; `none` not at all. */
  readonly effort?: 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh'
  /** Drawn when absent, and then kept through breaks. */
  readonly seed?: number
  readonly stop?: readonly string[]
  readonly tools?: readonly Tool[]
  readonly toolChoice?: 'none' | 'auto' | 'required' | { readonly name: string }
  /** JSON Schema that the answer is held to, or `json` for any object. */
  readonly format?: 'json' | { readonly name: string; readonly schema: object }
  /** An answer that its limit of tokens cut off is no error. */
  readonly allowTruncated?: boolean
}

export interface Usage {
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly completionTokens: number
}

/** Where an answer is made, as far as the coordinator has said. */
export interface Made {
  readonly taskId: string | undefined
  /** The last one, where it moved. */
  readonly node: string | undefined
  readonly route: 'local' | 'mesh' | 'cloud' | undefined
  /** Up to when the stream began. */
  readonly attempts?: number | undefined
  /** Why it left the owner's devices: `too-big`, `deadline`, `name`, `lost`. */
  readonly cloudReason?: string | undefined
  /** The model that answers in the place of the one that was asked for. */
  readonly standIn?: string | undefined
  /** A kept answer was given. */
  readonly isKept?: boolean | undefined
  /** In the owner's currency, of what nodes with a price made. */
  readonly cost?: number | undefined
}

/** A call of a device that the coordinator carried out for the model. */
export interface AnswerDeviceCall {
  /** `greenhouse.temperature`: device and capability. */
  readonly tool: string
  /** JSON of an object, as the model wrote it. */
  readonly arguments: string
  readonly outcome: string
  readonly value?: string | number | boolean
  readonly unit?: string
  readonly error?: string
  /** Its record; absent of a read. */
  readonly call?: string
}

export interface ChatAnswer extends Made {
  readonly text: string
  /** What the model thought before it spoke. */
  readonly thought: string
  readonly toolCalls: readonly ToolCall[]
  readonly finishReason: 'stop' | 'length' | 'tool_calls'
  readonly usage: Usage | undefined
  /** Times that the stream broke and went on. */
  readonly resumed: number
  /** Calls of devices, where `devices` allowed any. */
  readonly deviceCalls?: readonly AnswerDeviceCall[]
}

export type ChatPart =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'thought'; readonly text: string }
  /** A piece of a call: the first one of each `index` has its name, later ones more of its arguments. */
  | { readonly type: 'tool-call'; readonly index: number; readonly name: string; readonly arguments: string }
  /** What the mesh is at: `queued 2`, `loading 43%`, `node lost, resuming on desk-pc`. */
  | { readonly type: 'status'; readonly text: string }
  | { readonly type: 'end'; readonly answer: ChatAnswer }

/** The body of `POST /v1/chat/completions`. */
export function chatBody(request: ChatRequest, seed: number): object {
  const { model, messages, maxTokens, temperature, topP, topK, minP, effort } = request
  const { stop, tools, toolChoice, format } = request
  return {
    model,
    messages: messages.map(wireMessage),
    seed,
    stream: true,
    stream_options: { include_usage: true },
    ...(maxTokens !== undefined && { max_tokens: maxTokens }),
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { top_p: topP }),
    ...(topK !== undefined && { top_k: topK }),
    ...(minP !== undefined && { min_p: minP }),
    ...(effort !== undefined && { reasoning_effort: effort }),
    ...(stop !== undefined && { stop }),
    ...(tools !== undefined && { tools: tools.map((each) => ({ type: 'function', function: each })) }),
    ...(toolChoice !== undefined && { tool_choice: wireChoice(toolChoice) }),
    ...(format !== undefined && { response_format: wireFormat(format) }),
    ...wishesOf(request),
  }
}

/** The `skein` member of any request. */
export function wishesOf({ localOnly, priority, deadlineMs, maxCost, devices }: MeshWishes): object {
  const skein = {
    ...(localOnly !== undefined && { local_only: localOnly }),
    ...(priority !== undefined && { priority }),
    ...(deadlineMs !== undefined && { deadline_ms: deadlineMs }),
    ...(maxCost !== undefined && { max_cost: maxCost }),
    ...(devices !== undefined && { devices }),
  }
  return Object.keys(skein).length === 0 ? {} : { skein }
}

const wireMessage = ({ role, content, toolCalls, toolCallId }: ChatMessage): object => ({
  role,
  content,
  ...(toolCalls !== undefined && {
    tool_calls: toolCalls.map(({ id, name, arguments: given }) => ({
      id,
      type: 'function',
      function: { name, arguments: given },
    })),
  }),
  ...(toolCallId !== undefined && { tool_call_id: toolCallId }),
})

const wireChoice = (choice: NonNullable<ChatRequest['toolChoice']>): unknown =>
  typeof choice === 'string' ? choice : { type: 'function', function: choice }

const wireFormat = (format: NonNullable<ChatRequest['format']>): object =>
  format === 'json' ? { type: 'json_object' } : { type: 'json_schema', json_schema: format }
