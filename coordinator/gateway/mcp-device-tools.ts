/** Devices as tools of the Model Context Protocol: the same desk as everywhere, and the same word of a device's owner. */
import { Type, type TObject } from 'typebox'
import { CALL_OUTCOMES, SkeinError, type DeviceLevel } from '../../mesh/protocol/index.ts'
import type { Caller } from '../access/index.ts'
import { isWithin, type Devices } from '../devices/index.ts'
import { deviceLevelOf } from './device-callers.ts'
import type { McpTool, ToolContext, ToolResult, ToolSource } from './mcp-tools.ts'
import { carryOut } from './tool-loop-calls.ts'
import { deviceToolsOf, type DeviceTool } from './tool-loop-tools.ts'

const ResultSchema = Type.Object({
  outcome: Type.Enum([...CALL_OUTCOMES]),
  value: Type.Optional(Type.Unknown()),
  unit: Type.Optional(Type.String()),
  /** Of a read: whether the device has just answered; else `ageMs` says how old the value is. */
  fresh: Type.Optional(Type.Boolean()),
  ageMs: Type.Optional(Type.Number()),
  call: Type.Optional(Type.String()),
})

/** Of whoever has every right, acting is asked for by the header; a key says by itself what it is for. */
export function mcpLevelOf(caller: Caller, header: string | string[] | undefined): DeviceLevel {
  const may = deviceLevelOf(caller)
  if (header === 'none' || header === 'read' || header === 'act') return isWithin(header, may) ? header : may
  return caller.isAdmin ? 'read' : may
}

export const deviceMcpTools = (devices: Devices): ToolSource => ({
  tools: (caller, headers = {}) => {
    const level = mcpLevelOf(caller, headers['x-skein-devices'])
    return level === 'none' ? [] : deviceToolsOf(devices, level).map((tool) => mcpTool(devices, level, tool))
  },
})

const mcpTool = (devices: Devices, level: DeviceLevel, tool: DeviceTool): McpTool => ({
  name: tool.name,
  title: tool.name,
  description: tool.description,
  inputSchema: Type.Unsafe(tool.parameters) as unknown as TObject,
  outputSchema: ResultSchema,
  isWork: true,
  isActing: tool.mayAct,
  call: (input, context) => call(devices, level, tool, { input, context }),
})

/** @throws SkeinError DEVICE_CALL_FAILED, in words for the model. */
async function call(
  devices: Devices,
  level: DeviceLevel,
  tool: DeviceTool,
  { input, context }: { readonly input: unknown; readonly context: ToolContext },
): Promise<ToolResult> {
  const { caller, signal } = context
  const carrying = carryOut({ devices, caller, level, origin: 'mcp', signal }, tool, JSON.stringify(input))
  for (let steps = 1; ; steps++) {
    const step = await carrying.next()
    if (!step.done) {
      context.tell({ progress: steps, message: step.value })
      continue
    }
    const { told, result, line } = step.value
    if (told.outcome !== 'done') throw new SkeinError('DEVICE_CALL_FAILED', line)
    const { outcome, value, unit, fresh, ageMs, call: id } = told
    return {
      text: result,
      structured: {
        outcome,
        ...(value !== undefined && { value }),
        ...(unit !== undefined && { unit }),
        ...(fresh !== undefined && { fresh }),
        ...(ageMs !== undefined && { ageMs }),
        ...(id !== undefined && { call: id }),
      },
    }
  }
}
