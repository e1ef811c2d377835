/** `skein events`: what happens in the mesh, as it happens. */
import { Option, type Command } from 'commander'
import { SystemClock } from '../../../mesh/runtime/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { followEvents, type ToldEvent } from '../event-stream.ts'
import { interruptSignal } from '../interrupt.ts'
import { formatDuration } from '../output.ts'
import { printable } from '../printable.ts'

interface EventsOptions extends ClientOptions {
  readonly types?: string
}

export function registerEvents(program: Command): void {
  addClientOptions(program.command('events').description('show what happens in the mesh, as it happens'))
    .addOption(new Option('--types <list>', 'only these, such as task,node.lost'))
    .action(async (options: EventsOptions) => {
      const { output, client } = createContext(options)
      const coordinator = client()
      await followEvents(
        { clock: new SystemClock(true), open: (after, signal) => coordinator.events(options.types, after, signal) },
        {
          event: (event) => (output.json ? output.value(event) : output.line(renderEvent(event))),
          lost: () => output.note('connection lost, trying again'),
        },
        interruptSignal(),
      )
    })
}

const TIME_LENGTH = 'hh:mm:ss'.length
const TYPE_LENGTH = 'replica.accepted'.length

/** A line for people; times are this machine's. */
export function renderEvent(event: ToldEvent): string {
  const time = new Date(event.atMs).toTimeString().slice(0, TIME_LENGTH)
  return printable(`${time}  ${event.type.padEnd(TYPE_LENGTH)}  ${detail(event)}`)
}

function detail(event: ToldEvent): string {
  switch (event.type) {
    case 'task.queued':
      return `${event.taskId} for ${event.key}: ${event.model}, ${event.priority}`
    case 'task.started':
      return `${event.taskId} on ${event.node.name} (${event.route}), after ${formatDuration(event.waitedMs)}`
    case 'task.moved':
      return `${event.taskId} to ${event.node.name} (${event.route}): ${event.reason}`
    case 'task.ended': {
      const how = event.code === undefined ? event.outcome : `${event.outcome}: ${event.code}`
      const took = `${event.promptTokens} + ${event.completionTokens} tokens in ${formatDuration(event.tookMs)}`
      return `${event.taskId} ${how}, ${took}, ${event.attempts} ${event.attempts === 1 ? 'attempt' : 'attempts'}`
    }
    case 'work.ended':
      return `${event.workId} for ${event.key}: ${event.kind} ${event.code ?? event.outcome}, in ${formatDuration(event.tookMs)}`
    case 'node.joined':
    case 'node.left':
    case 'node.lost':
    case 'node.draining':
    case 'node.serving':
      return `${event.name} (${event.peerId})`
    case 'replica.sent':
    case 'replica.accepted':
    case 'replica.done':
    case 'replica.refused':
    case 'replica.failed':
    case 'replica.lost':
      return `${event.node.name}: ${event.digest.slice(0, 'sha256:'.length + 12)}, ${event.message ?? event.reason}`
    case 'key.made':
    case 'key.rotated':
    case 'key.revoked':
      return `${event.name} (${event.id})`
    case 'device.joined':
      return `${event.device} (${event.class}) behind ${event.bridge}`
    case 'device.changed':
    case 'device.gone':
      return `${event.device} behind ${event.bridge}`
    case 'device.state':
      return `${event.device} is ${event.state}`
    case 'device.bridge':
      return `${event.bridge} is ${event.isOnline ? 'there' : 'away'}`
    case 'device.reading':
      return `${event.device}.${event.name}: ${String(event.value)}`
    case 'device.call': {
      const how = event.error === undefined ? (event.outcome ?? event.state) : `${event.outcome ?? ''}: ${event.error}`
      return `${event.op} ${event.device}.${event.capability} for ${event.key} (${event.origin}): ${how}`
    }
    case 'device.task': {
      const how = event.outcome === undefined ? '' : ` ${event.outcome}`
      const why = event.error === undefined ? '' : ` (${event.error})`
      const what = event.state === 'passed' ? `pass ${event.pass}` : event.state
      return `${event.op} ${event.capability} for ${event.key}: ${what}${how}${why}`
    }
    case 'device.rule':
      return `${event.rule} for ${event.device} did nothing: ${event.outcome}${event.times > 1 ? `, ${event.times} times` : ''}`
    case 'device.claim':
      return `a ${event.class} at ${event.bridge} shows the code ${event.code}`
    case 'budget.spent':
      return `${event.costMicros} micro-units; ${event.leftMicros} of ${event.limitMicros} are left for ${event.period === 'day' ? event.day : event.day.slice(0, 7)}`
    case 'budget.exhausted':
      return `${event.neededMicros} micro-units were needed${forKey('by', event)}; ${event.leftMicros} of ${event.limitMicros} are left for the ${event.period} from ${event.from}`
    case 'budget.set':
      return `${event.by} has set the budget${forKey('of', event)}: ${termsText(event)}`
    case 'events.missed':
      return 'some events could not be told any more'
  }
}

const forKey = (word: string, { key }: { readonly key?: string }): string =>
  key === undefined ? '' : ` ${word} ${key}`

/** What the owner has set, as it holds now; nothing where that was taken away. */
function termsText(
  terms: Pick<Extract<ToldEvent, { type: 'budget.set' }>, 'dayMicros' | 'monthMicros' | 'atLimit'>,
): string {
  const { dayMicros, monthMicros, atLimit } = terms
  const parts = [
    ...(dayMicros === undefined ? [] : [`${dayMicros} micro-units a day`]),
    ...(monthMicros === undefined ? [] : [`${monthMicros} micro-units a month`]),
    ...(atLimit === undefined ? [] : [`${atLimit} at the limit`]),
  ]
  return parts.length === 0 ? 'none' : parts.join(', ')
}
