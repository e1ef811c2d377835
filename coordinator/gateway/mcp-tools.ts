/**
 * Tools as the Model Context Protocol offers them. Who has tools is a source; the mesh's models are one, and whatever else is
 * to be called (devices) would be another: nothing here knows what a tool does.
 */
import { Type, type Static, type TObject, type TSchema } from 'typebox'
import { asSkeinError, parser, SkeinError, type RequestId } from '../../mesh/protocol/index.ts'
import type { Caller } from '../access/index.ts'
import type { TaskTrace } from '../admission/index.ts'
import { publicMessage } from './openai-errors.ts'
import type { RequestHeaders } from './request-options.ts'

/** One call of a tool. */
export interface ToolContext {
  readonly requestId: RequestId
  readonly caller: Caller
  /** Aborts when the client cancels the call or is gone. */
  readonly signal: AbortSignal
  /** Absent where there is no trace. */
  readonly trace?: TaskTrace
  /** Says how far it is; may be called as often as one likes. */
  readonly tell: (progress: ToolProgress) => void
}

export interface ToolProgress {
  /** Grows. */
  readonly progress: number
  /** What it grows to, where that is known. */
  readonly total?: number
  /** For people. */
  readonly message: string
}

export interface ToolResult {
  /** What the model that called reads. */
  readonly text: string
  /** Fits the tool's `outputSchema`. */
  readonly structured: object
}

export interface McpTool {
  readonly name: string
  readonly title: string
  /** For the model that is to choose among tools. */
  readonly description: string
  readonly inputSchema: TObject
  readonly outputSchema: TSchema
  /** Takes so long that its answer is a stream, and counts against the rates of its caller. */
  readonly isWork: boolean
  /** It changes something in the world. */
  readonly isActing?: boolean
  /** @throws SkeinError what the caller is told. */
  readonly call: (input: unknown, context: ToolContext) => Promise<ToolResult>
}

/** Gives the tools that a caller may use now, always in one order. */
export interface ToolSource {
  tools(caller: Caller, headers?: RequestHeaders): readonly McpTool[]
}

export interface ToolInit<I extends TObject> extends Omit<McpTool, 'inputSchema' | 'call'> {
  readonly inputSchema: I
  readonly call: (input: Static<I>, context: ToolContext) => Promise<ToolResult>
}

/** A tool whose input is checked before it is called. */
export function toolOf<I extends TObject>({ call, ...tool }: ToolInit<I>): McpTool {
  const parse = parser(tool.inputSchema, `arguments of ${tool.name}`, 'INVALID_REQUEST')
  return { ...tool, call: async (input, context) => call(parse(input), context) }
}

/** As `tools/list` tells it. */
export const toolBody = ({
  name,
  title,
  description,
  inputSchema,
  outputSchema,
  isActing = false,
}: McpTool): object => ({
  name,
  title,
  description,
  inputSchema,
  outputSchema,
  annotations: {
    title,
    readOnlyHint: !isActing,
    ...(isActing && { destructiveHint: true }),
    openWorldHint: false,
  },
})

export const CallParamsSchema = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 128 }),
  arguments: Type.Optional(Type.Object({})),
})
export const callParams = parser(CallParamsSchema, 'params', 'INVALID_REQUEST')

export const resultOf = ({ text, structured }: ToolResult): object => ({
  content: [{ type: 'text', text }],
  structuredContent: structured,
})

/** What went wrong, told as a result: the model that called can read it, and do otherwise. */
export function errorResult(thrown: unknown, requestId: string): object {
  const error = asSkeinError(thrown)
  const again = error.retryAfterSeconds === undefined ? '' : ` (again in ${Math.ceil(error.retryAfterSeconds)} s)`
  const text = `${error.code.toLowerCase()}: ${publicMessage(error, requestId)}${again}`
  return { content: [{ type: 'text', text }], isError: true }
}

/** Whether a call was ended by its client: nobody waits for its result. */
export const isCancelled = (signal: AbortSignal): boolean =>
  signal.aborted && signal.reason instanceof SkeinError && signal.reason.code === 'CLIENT_CLOSED'
