/** An observation as one line, for people who replay a seed. Nothing in it depends on anything but the seed. */
import type { AnyFrame, Frame } from '../../mesh/protocol/index.ts'
import type { LedgerEvent } from '../../coordinator/ledger/index.ts'
import type { Observation } from './record.ts'

export function describe(seen: Observation): string {
  switch (seen.type) {
    case 'sent':
      return `coordinator > ${seen.node} #${seen.stream} ${frameText(seen.frame)}`
    case 'got':
      return `coordinator < ${seen.node} #${seen.stream} ${frameText(seen.frame)}`
    case 'stream over':
      return `coordinator closes #${seen.stream}`
    case 'ordered':
      return `coordinator > ${seen.node} order ${seen.frame.order} of ${seen.frame.digest.slice(7, 15)}`
    case 'outcome':
      return `coordinator < ${seen.node} order ${seen.frame.order} ${seen.frame.state} ${seen.frame.code ?? ''}`
    case 'node lost':
      return `coordinator takes ${seen.node} for lost`
    case 'node sent':
      return `${seen.node}.${seen.life} > #${seen.stream} ${frameText(seen.frame)}`
    case 'node got':
      return `${seen.node}.${seen.life} < #${seen.stream} ${frameText(seen.frame)}`
    case 'slots':
      return `${seen.node} runs ${seen.running} of ${seen.slots}`
    case 'refused':
      return `${seen.reader.name} is refused: ${seen.code} ${seen.message}`
    case 'named':
      return `${seen.reader.name} follows ${seen.reader.taskId}${seen.isNew ? '' : ', which was there'}`
    case 'acknowledged':
      return `${seen.client.name} has ${seen.taskId} acknowledged`
    case 'began':
      return `${seen.reader.name} begins`
    case 'resumed':
      return `${seen.reader.name} comes back, ${seen.forgotten} events never arrived`
    case 'told':
      return `${seen.reader.name} reads ${JSON.stringify(seen.event)}`
    case 'failed':
      return `${seen.reader.name} fails: ${seen.code} ${seen.message}`
    case 'gave up':
      return `${seen.reader.name} gives up: ${seen.why}`
    case 'offered':
    case 'durable':
      return `ledger ${seen.type}: ${seen.events.map(eventText).join(', ')}`
    case 'life':
      return `** ${seen.who} ${seen.what}`
    case 'fault':
      return `** ${seen.what}`
  }
}

function frameText(any: AnyFrame): string {
  const frame = any as Frame
  switch (frame.type) {
    case 'attempt.start':
      return `start ${frame.taskId} fence ${frame.fence} from ${frame.generated.length / 4}${frame.hold ? ' hold' : ''}`
    case 'attempt.attach':
      return `attach ${frame.taskId} fence ${frame.fence} of ${frame.heldFence} from ${frame.from}`
    case 'attempt.commit':
      return `commit fence ${frame.fence} with ${frame.generated.length / 4}`
    case 'attempt.tokens':
      return `tokens fence ${frame.fence} ${frame.index}+${frame.ids.length / 4} ${JSON.stringify(frame.text)}`
    case 'attempt.progress':
      return `progress fence ${frame.fence} ${frame.phase} ${frame.done}/${frame.total}`
    case 'attempt.failed':
      return `failed fence ${frame.fence} ${frame.code} ${frame.message}`
    case 'attempt.end':
      return `end fence ${frame.fence} ${frame.finishReason}`
    case 'control.load':
      return `load ${frame.load.models.map(({ running }) => running).join(' ')}${frame.load.cordoned ? ' cordoned' : ''}${frame.load.draining ? ' draining' : ''}`
    case 'control.held':
    case 'control.release':
      return `${frame.type} ${JSON.stringify(frame.attempts)}`
    case 'control.directive':
      return frame.directive
    default:
      return 'fence' in frame ? `${frame.type} fence ${frame.fence}` : frame.type
  }
}

function eventText(event: LedgerEvent): string {
  switch (event.type) {
    case 'task.admitted':
      return `admitted ${event.spec.taskId}`
    case 'attempt.assigned':
      return `assigned ${event.taskId} ${event.attempt} to ${event.node.name} (${event.reason}, fence ${event.fence}, from ${event.from})`
    case 'attempt.ended':
      return `attempt ${event.attempt} of ${event.taskId} ${event.outcome} ${event.code ?? ''} at ${event.to}`
    case 'task.checkpointed':
      return `checkpoint ${event.taskId} ${event.part.index}+${event.part.ids.length / 4}`
    case 'task.ended':
      return `ended ${event.taskId} ${event.result.outcome} ${event.result.error?.code ?? event.result.finishReason ?? ''}`
    case 'work.ended':
      return `work ${event.taskId} of ${event.usage.promptTokens}`
    case 'task.purged':
      return `purged ${event.taskId}`
  }
}
