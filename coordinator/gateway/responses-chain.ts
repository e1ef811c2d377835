/**
 * What a response goes on from. The ledger keeps of each stored response the whole conversation that it was asked, so the
 * next one needs no other than its predecessor. Instructions are not part of it: each response has its own.
 */
import type { FastifyRequest } from 'fastify'
import { asTaskId, SkeinError, taskIdOfResponse, type ChatMessage, type TaskId } from '../../mesh/protocol/index.ts'
import type { MeshService, TaskView } from '../admission/index.ts'
import { storedShape } from './answer-form.ts'
import { ownTask } from './callers.ts'
import { REFERENCED_RESPONSES_MAX } from './limits.ts'
import { callId, jsonObject } from './openai-tools.ts'
import { headOf } from './responses-answers.ts'
import { isReference, itemsOfMessages, type InputItemBody } from './responses-input.ts'
import { itemsOf, outputOf } from './responses-items.ts'
import type { InputItem } from './responses-schemas.ts'

const notFound = (id: string, param?: string): SkeinError =>
  new SkeinError('NOT_FOUND', `there is no response '${id.slice(0, 64)}'`, param === undefined ? {} : { param })

/**
 * A response that is kept, of the caller or, for an admin, of anybody. One with `store: false` is nowhere, and neither is
 * one whose texts were deleted.
 *
 * @throws SkeinError NOT_FOUND.
 */
export async function ownResponse(service: MeshService, request: FastifyRequest, id: string): Promise<TaskView> {
  const taskId = taskIdOfResponse(id)
  if (taskId === undefined) throw notFound(id)
  const view = await ownTask(service, request, taskId).catch((error: unknown) => {
    throw error instanceof SkeinError && error.code === 'NOT_FOUND' ? notFound(id) : error
  })
  if (!view.stored || view.isPurged || storedShape(view).api !== 'response') throw notFound(id)
  return view
}

/** What it was asked, without its instructions. @throws SkeinError NOT_FOUND. */
async function askedOf(service: MeshService, view: TaskView): Promise<readonly ChatMessage[]> {
  const prompt = await service.promptOf(view.taskId)
  const messages = prompt.kind === 'chat' ? prompt.messages : []
  return storedShape(view).hasInstructions ? messages.slice(1) : messages
}

/** The items that a response was asked, in their order. @throws SkeinError NOT_FOUND. */
export async function inputItems(service: MeshService, view: TaskView): Promise<InputItemBody[]> {
  return itemsOfMessages(view.taskId, await askedOf(service, view))
}

/** What it answered, as the message that a model reads. */
function answerOf(view: TaskView): ChatMessage {
  const items = itemsOf(headOf(view), view.text)
  const textOf = (kind: 'thought' | 'message'): string =>
    items.map((item) => (item.kind === kind ? item.text : '')).join('')
  // a call that was cut has arguments that are none, and nobody can have run it
  const toolCalls = items.flatMap((item) =>
    item.kind === 'call' && jsonObject(item.text) !== undefined
      ? [{ id: callId(view.taskId, item.index), name: item.name, arguments: item.text }]
      : [],
  )
  const thought = textOf('thought')
  return {
    role: 'assistant',
    content: textOf('message'),
    ...(thought && { thought }),
    ...(toolCalls.length > 0 && { toolCalls }),
  }
}

/** What is taken over of earlier responses. */
export interface Carried<T> {
  readonly items: readonly T[]
  /** One of them was to stay on the owner's nodes, and what goes on from it stays there as well. */
  readonly isLocalOnly: boolean
}

/**
 * The conversation up to and with the response `id` of the caller.
 *
 * @throws SkeinError NOT_FOUND; INVALID_REQUEST when it has not ended, or did not end whole. Both with `param`.
 */
export async function conversationOf(
  service: MeshService,
  request: FastifyRequest,
  id: string,
): Promise<Carried<ChatMessage>> {
  const param = 'previous_response_id'
  const view = await ownResponse(service, request, id).catch((error: unknown) => {
    throw error instanceof SkeinError && error.code === 'NOT_FOUND' ? notFound(id, param) : error
  })
  // an admin may see what others asked, and goes on with nothing of it
  if (view.tenant !== request.caller.tenant) throw notFound(id, param)
  if (view.state === 'queued' || view.state === 'running')
    throw new SkeinError('INVALID_REQUEST', `the response '${id}' is still in progress`, { param })
  if (view.state !== 'completed')
    throw new SkeinError('INVALID_REQUEST', `the response '${id}' has ${view.state}; nothing goes on from it`, {
      param,
    })
  return { items: [...(await askedOf(service, view)), answerOf(view)], isLocalOnly: view.localOnly }
}

/** Ids of items, of what was asked and of what was answered. */
const ITEM_ID = /^(?:msg|rs|fc|fco)_([a-z2-7]{24})(?:_[i0-9_]{1,16})?$/

interface Reference {
  readonly id: string
  readonly param: string
}

/**
 * `items` with those that are named by their ids in place of the names, as clients send what they know to be stored.
 *
 * @throws SkeinError NOT_FOUND, INVALID_REQUEST, each with its `param`.
 */
export async function withReferences(
  service: MeshService,
  request: FastifyRequest,
  items: readonly InputItem[],
): Promise<Carried<InputItem>> {
  const references = new Map<TaskId, Reference[]>()
  for (const [index, item] of items.entries()) {
    if (!isReference(item)) continue
    const reference = { id: item.id ?? '', param: `input[${index}].id` }
    const taskId = taskIdOfItem(reference)
    references.set(taskId, [...(references.get(taskId) ?? []), reference])
  }
  if (references.size > REFERENCED_RESPONSES_MAX)
    throw new SkeinError('INVALID_REQUEST', `input names items of more than ${REFERENCED_RESPONSES_MAX} responses`, {
      param: 'input',
    })
  const found = new Map<string, InputItem>()
  let isLocalOnly = false
  for (const [taskId, wanted] of references) {
    const carried = await referenced(service, request, taskId, wanted)
    isLocalOnly ||= carried.isLocalOnly
    for (const item of carried.items) found.set(String(item.id), item)
  }
  if (references.size === 0) return { items, isLocalOnly }
  return { items: items.map((item) => (isReference(item) ? found.get(String(item.id))! : item)), isLocalOnly }
}

const noItem = ({ id, param }: Reference): SkeinError =>
  new SkeinError('NOT_FOUND', `there is no item '${id.slice(0, 64)}'`, { param })

function taskIdOfItem(reference: Reference): TaskId {
  const match = ITEM_ID.exec(reference.id)
  if (match === null) throw noItem(reference)
  return asTaskId(`task_${match[1]}`)
}

async function referenced(
  service: MeshService,
  request: FastifyRequest,
  taskId: TaskId,
  wanted: readonly Reference[],
): Promise<Carried<InputItem>> {
  const view = await ownResponse(service, request, taskId.replace('task_', 'resp_')).catch((error: unknown) => {
    throw error instanceof SkeinError && error.code === 'NOT_FOUND' ? noItem(wanted[0]!) : error
  })
  if (view.tenant !== request.caller.tenant) throw noItem(wanted[0]!)
  const head = headOf(view)
  const output = outputOf(head, itemsOf(head, view.text), 'completed') as InputItemBody[]
  const all = [...(await inputItems(service, view)), ...output]
  const items = wanted.map((reference) => {
    const item = all.find(({ id }) => id === reference.id)
    if (item === undefined) throw noItem(reference)
    return item as InputItem
  })
  return { items, isLocalOnly: view.localOnly }
}
