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
}

export interface ChatRequest extends MeshWishes {
  readonly model: string
  readonly messages: readonly ChatMessage[]
  readonly maxTokens?: number
  /** 0 is greedy. */
  readonly temperature?: number
  readonly topP?: number
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

/** Where an answer was made, as the coordinator said when it began. */
export interface Made {
  readonly taskId: string | undefined
  readonly node: string | undefined
  readonly route: 'local' | 'mesh' | 'cloud' | undefined
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
  const { model, messages, maxTokens, temperature, topP, stop, tools, toolChoice, format } = request
  return {
    model,
    messages: messages.map(wireMessage),
    seed,
    stream: true,
    stream_options: { include_usage: true },
    ...(maxTokens !== undefined && { max_tokens: maxTokens }),
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { top_p: topP }),
    ...(stop !== undefined && { stop }),
    ...(tools !== undefined && { tools: tools.map((each) => ({ type: 'function', function: each })) }),
    ...(toolChoice !== undefined && { tool_choice: wireChoice(toolChoice) }),
    ...(format !== undefined && { response_format: wireFormat(format) }),
    ...wishesOf(request),
  }
}

/** The `skein` member of any request. */
export function wishesOf({ localOnly, priority, deadlineMs, maxCost }: MeshWishes): object {
  const skein = {
    ...(localOnly !== undefined && { local_only: localOnly }),
    ...(priority !== undefined && { priority }),
    ...(deadlineMs !== undefined && { deadline_ms: deadlineMs }),
    ...(maxCost !== undefined && { max_cost: maxCost }),
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
