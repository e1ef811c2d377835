/** I2, I4, I5 and I10: what readers got, against the unbroken answer and against the ledger. */
import { ERRORS, type TaskId } from '../../../mesh/protocol/index.ts'
import type { TaskEvent } from '../../../coordinator/admission/index.ts'
import { durableTokens, textOf } from '../../../coordinator/ledger/index.ts'
import { UNLAWFUL } from '../lies.ts'
import type { FinalState, Observation, Reader } from '../record.ts'
import { wordOf, type ClientPlan, type NodePlan } from '../scenario.ts'
import { Table, type Checker, type Fail } from './checker.ts'

const MARK_BEGIN = '⟦'
const MARK = /^⟦(\d+):(\d+)⟧/

interface Unbroken {
  readonly text: string
  readonly tokens: number
}

/** What one honest node alone would have answered. */
export function unbrokenOf(client: ClientPlan): Unbroken {
  let text = ''
  for (let i = 0; i < client.maxTokens; i++) {
    text += `${wordOf(client.name, i % client.words)} `
    const at = client.stop.length === 0 ? -1 : text.indexOf(client.stop[0]!)
    if (at >= 0) return { text: text.slice(0, at), tokens: i + 1 }
  }
  return { text, tokens: client.maxTokens }
}

interface Read {
  tokens: number
  text: string
  position: number
  /** Sizes of the token events, so that the last ones can be forgotten. */
  events: { readonly tokens: number; readonly units: number; readonly position: number }[]
  end: Extract<TaskEvent, { type: 'end' }> | undefined
}

const nothing = (): Read => ({ tokens: 0, text: '', position: 0, events: [], end: undefined })

/** Each index once and in order for every reader, and the text is the unbroken one. */
export function orderChecker(fail: Fail, nodes: readonly NodePlan[]): Checker {
  const reads = new Table<Reader, Read>(nothing)
  const unbroken = new Table<ClientPlan, Unbroken | undefined>(() => undefined)
  const hasLiars = nodes.some((node) => node.lies.length > 0)
  const expectedOf = (client: ClientPlan): Unbroken => {
    const known = unbroken.of(client) ?? unbrokenOf(client)
    unbroken.set(client, known)
    return known
  }
  const onTokens = (reader: Reader, read: Read, event: Extract<TaskEvent, { type: 'tokens' }>): void => {
    if (event.index !== read.tokens)
      fail(`${reader.name} has ${read.tokens} tokens of ${reader.taskId} and is given index ${event.index}`)
    if (event.count <= 0 || event.position <= read.position)
      fail(`${reader.name}: ${event.count} tokens from position ${read.position} to ${event.position}`)
    if (event.text.includes(UNLAWFUL)) fail(`${reader.name} is given what no node may send: ${event.text}`)
    if (hasLiars) checkMarked(fail, reader, event)
    else if (!expectedOf(reader.client).text.startsWith(event.text, read.text.length))
      fail(`${reader.name} at index ${event.index}: '${event.text}' is not what follows '${read.text.slice(-20)}'`)
    read.tokens += event.count
    read.text += event.text
    read.position = event.position
    read.events.push({ tokens: event.count, units: event.text.length, position: event.position })
  }
  const forget = (read: Read, events: number): void => {
    for (const { tokens, units } of read.events.splice(read.events.length - events)) {
      read.tokens -= tokens
      read.text = read.text.slice(0, read.text.length - units)
    }
    read.position = read.events.at(-1)?.position ?? 0
  }
  return {
    on: (seen) => {
      if (seen.type === 'began') reads.set(seen.reader, nothing())
      else if (seen.type === 'resumed') forget(reads.of(seen.reader), seen.forgotten)
      else if (seen.type === 'told') {
        const read = reads.of(seen.reader)
        if (read.end) fail(`${seen.reader.name} is told of ${seen.event.type} after the end`)
        if (seen.event.type === 'tokens') onTokens(seen.reader, read, seen.event)
        else if (seen.event.type === 'end') {
          read.end = seen.event
          const whole = expectedOf(seen.reader.client)
          const text = read.text + seen.event.text
          if (!hasLiars && (text !== whole.text || read.tokens !== whole.tokens))
            fail(`${seen.reader.name} ends with ${read.tokens} tokens of ${whole.tokens} and '${text.slice(-30)}'`)
        }
      }
    },
  }
}

/** With liars about, each token is an honest word or the mark of a liar's, and either is of its own index. */
function checkMarked(fail: Fail, reader: Reader, event: Extract<TaskEvent, { type: 'tokens' }>): void {
  let { text } = event
  for (let index = event.index; index < event.index + event.count; index++) {
    const mark = MARK.exec(text)
    const word = `${wordOf(reader.client.name, index % reader.client.words)} `
    if (mark ? Number(mark[2]) !== index : !text.startsWith(word))
      fail(`${reader.name} at index ${index}: '${text.slice(0, 40)}' is of another index`)
    text = text.slice(mark ? mark[0].length : word.length)
  }
  if (text !== '')
    fail(`${reader.name}: '${text}' belongs to no token of ${event.index} to ${event.index + event.count}`)
}

/** The reasons of a refusal, when no other is among them. */
const ONLY_TRIPPED = /\((?:\w+: breaker open(?:, )?)+\)$/

/** Every stream ends, by its end or by an error that says why. */
export function endChecker(fail: Fail): Checker {
  return {
    on: (seen) => {
      if (seen.type === 'refused' && ONLY_TRIPPED.test(seen.message))
        fail(`${seen.reader.name} is refused though nothing is wrong but breakers: ${seen.message}`)
      if (seen.type !== 'failed') return
      if (!(seen.code in ERRORS) || seen.code === 'INTERNAL')
        fail(`${seen.reader.name} fails with ${seen.code}: ${seen.message}`)
      // a place that an event has named is a place to come back to
      if (seen.code === 'INVALID_REQUEST' && /cut behind|ended at/.test(seen.message))
        fail(`${seen.reader.name} cannot resume: ${seen.message}`)
    },
    atEnd: ({ waiting }) => {
      if (waiting.length > 0)
        fail(`${waiting.map(({ name, taskId }) => `${name} (${taskId})`).join(', ')} wait for ever`)
    },
  }
}

/** A ledger that takes longer to record an end does not delay it any more (`docs/SIMULATION.md`, "What is not checked"). */
const RECORD_MS_MAX = 2000
/** Sums of fractions of a millisecond come out a little less. */
const ROUNDING_MS = 0.01

/** One result, the same for all who read it and for the ledger; who may resume is told of it when it is durable. */
export function resultChecker(fail: Fail, nowMs: () => number): Checker {
  const reads = new Table<Reader, Read>(nothing)
  const streams = new Map<number, TaskId>()
  /** When the coordinator heard that the answer is whole. */
  const wholeAtMs = new Map<TaskId, number>()
  const durable = new Map<TaskId, string>()
  /** Readers that were told an end which may still be lost. */
  const early = new Set<Reader>()
  const onTold = (reader: Reader, event: TaskEvent): void => {
    const read = reads.of(reader)
    if (event.type !== 'tokens' && event.type !== 'end') return
    read.text += event.text
    if (event.type === 'tokens')
      read.events.push({ tokens: event.count, units: event.text.length, position: event.position })
    else {
      read.end = event
      if (durable.has(reader.taskId!)) return
      early.add(reader)
      const isOwed = reader.client.attachment !== 'attached' || reader.client.hasKey
      const waitedMs = nowMs() - (wholeAtMs.get(reader.taskId!) ?? nowMs())
      if (isOwed && waitedMs < RECORD_MS_MAX - ROUNDING_MS)
        fail(`${reader.name} is told the end of ${reader.taskId} before it is durable`)
    }
  }
  return {
    on: (seen) => {
      if (seen.type === 'sent' && (seen.frame.type === 'attempt.start' || seen.frame.type === 'attempt.attach'))
        streams.set(seen.stream, seen.frame.taskId)
      else if (seen.type === 'got' && seen.frame.type === 'attempt.end')
        wholeAtMs.set(streams.get(seen.stream)!, nowMs())
      else if (seen.type === 'durable') onDurable(fail, durable, seen)
      else if (seen.type === 'began') reads.set(seen.reader, nothing())
      else if (seen.type === 'resumed') {
        const read = reads.of(seen.reader)
        for (const { units } of read.events.splice(read.events.length - seen.forgotten))
          read.text = read.text.slice(0, read.text.length - units)
      } else if (seen.type === 'told') onTold(seen.reader, seen.event)
    },
    atEnd: (final) => {
      for (const [reader, read] of reads) if (read.end && !early.has(reader)) checkResult(fail, final, reader, read)
    },
  }
}

/** The first end that is durable holds: a later one must say the same. */
function onDurable(fail: Fail, ends: Map<TaskId, string>, seen: Extract<Observation, { type: 'durable' }>): void {
  for (const event of seen.events) {
    if (event.type !== 'task.ended') continue
    const said = JSON.stringify(event.result)
    const before = ends.get(event.taskId)
    if (before !== undefined && before !== said) fail(`${event.taskId} ends twice: ${before} and ${said}`)
    ends.set(event.taskId, said)
  }
}

function checkResult(fail: Fail, { tasks }: FinalState, reader: Reader, read: Read): void {
  const task = tasks.get(reader.taskId!)
  if (task === undefined || task.result === undefined)
    return fail(`${reader.name} was told the end of ${reader.taskId}, the ledger has none`)
  if (task.result.outcome !== 'completed' || task.result.finishReason !== read.end!.finishReason)
    fail(
      `${reader.name} read ${read.end!.finishReason}, the ledger has ${task.result.outcome} ${task.result.finishReason}`,
    )
  const recorded = textOf(task)
  // after a restart a liar may tell again what it told before, in other words: nobody can know
  if (recorded.includes(MARK_BEGIN) || read.text.includes(MARK_BEGIN)) return
  let same = 0
  while (same < recorded.length && recorded[same] === read.text[same]) same++
  if (recorded !== read.text)
    fail(
      `${reader.name} read ${read.text.length} letters of ${reader.taskId}, the ledger has ${recorded.length}: ` +
        `'${read.text.slice(same, same + 20)}' and '${recorded.slice(same, same + 20)}' after the first ${same}`,
    )
}

/** Usage is what was delivered, to the client and in the ledger. */
export function usageChecker(fail: Fail): Checker {
  const tokens = new Table<Reader, number[]>(() => [])
  return {
    on: (seen) => {
      if (seen.type === 'began') tokens.set(seen.reader, [])
      else if (seen.type === 'resumed') tokens.of(seen.reader).splice(tokens.of(seen.reader).length - seen.forgotten)
      else if (seen.type === 'told' && seen.event.type === 'tokens') tokens.of(seen.reader).push(seen.event.count)
      else if (seen.type === 'told' && seen.event.type === 'end') {
        const delivered = tokens.of(seen.reader).reduce((sum, count) => sum + count, 0)
        const { completionTokens } = seen.event.usage
        if (completionTokens !== delivered)
          fail(`${seen.reader.name} got ${delivered} tokens and is charged ${completionTokens}`)
      }
    },
    atEnd: ({ tasks }) => {
      for (const task of tasks.values()) {
        const { usage, outcome } = task.result ?? {}
        if (outcome === 'completed' && usage?.completionTokens !== durableTokens(task))
          fail(`${task.spec.taskId}: ${durableTokens(task)} tokens are durable, ${usage?.completionTokens} are charged`)
      }
    },
  }
}
