/** `skein explain TASK`: where each attempt went and why, what was predicted, and what happened. */
import type { Command } from 'commander'
import type { AttemptExplanation, TaskExplanation } from '../../../coordinator/index.ts'
import { addClientOptions, createContext, type ClientOptions } from '../context.ts'
import { table } from '../output.ts'

export function registerExplain(program: Command): void {
  addClientOptions(
    program
      .command('explain')
      .description('say why a task ran where it ran')
      .argument('<task>', 'its id, as `skein tasks` or the header x-skein-task shows it'),
  ).action(async (task: string, options: ClientOptions) => {
    const { output, client } = createContext(options)
    const explanation = await client().explain(task)
    if (output.json) output.value(explanation)
    else output.line(renderExplanation(explanation))
  })
}

const REASONS: Readonly<Record<AttemptExplanation['reason'], string>> = {
  first: 'the first assignment',
  lost: 'moved: the attempt before it was lost',
  drain: 'moved as planned: its node was leaving',
  rebalance: 'moved as planned: this node was predicted to be much faster',
  preempted: 'moved: it had given its slot to a more urgent task',
  reattached: 'after a restart of the coordinator: the node still held the attempt',
  recovered: 'after a restart of the coordinator: begun again from what was recorded',
  escalated: 'asked again: the model of the attempt before it was not sure enough',
}

const LEAVES: Readonly<Record<NonNullable<AttemptExplanation['leave']>, string>> = {
  'too-big': "no node of the owner's can do it",
  deadline: "no node of the owner's could do it in time",
  name: 'the client asked for the cloud',
  lost: "no node of the owner's was left to go on with it",
  'low-confidence': 'the local answer was less sure than the policy wants',
}

const PARTS = ['waitMs', 'loadMs', 'prefillMs', 'decodeMs', 'linkMs', 'penaltyMs', 'totalMs'] as const
const HEADING = [' ', 'NODE', 'WAIT', 'LOAD', 'PREFILL', 'DECODE', 'LINK', 'PENALTY', 'TOTAL ms']

const ms = (value: number): string => String(Math.round(value))

export function renderExplanation(explanation: TaskExplanation): string {
  const { taskId, model, state, priority, localOnly, tokens, result, position, attempts } = explanation
  const facts = [model, state, `priority ${priority}`, ...(localOnly ? ['local only'] : []), `${tokens} tokens`]
  const lines = [`${taskId}  ${facts.join(' · ')}`]
  if (position !== undefined) lines.push(`it waits at place ${position}`)
  if (result?.error) lines.push(`${result.error.code}: ${result.error.message}`)
  if (attempts.length === 0) lines.push('no node was assigned')
  return [...lines, ...attempts.map(renderAttempt)].join('\n\n')
}

function renderAttempt(attempt: AttemptExplanation): string {
  const { node, route, reason, from, outcome, code, message, to } = attempt
  const end = outcome === undefined ? 'running' : `${outcome}${to === undefined ? '' : ` at token ${to}`}`
  const cause = code === undefined ? '' : ` (${code}${message === undefined ? '' : `: ${message}`})`
  return [
    `attempt ${attempt.attempt} on ${node.name} (${route}), from token ${from}: ${end}${cause}`,
    `  ${REASONS[reason]}${choice(attempt)}`,
    ...left(attempt),
    ...sure(attempt),
    ...(attempt.candidates.length > 0 ? [indent(candidateTable(attempt))] : []),
    ...(attempt.predicted ? [`  ${comparison(attempt.predicted, attempt.observed)}`] : []),
  ].join('\n')
}

/** Why it left the owner's nodes, and what of it did. */
function left({ leave, estimateMicros, redactions = 0 }: AttemptExplanation): string[] {
  if (leave === undefined) return []
  const cost = estimateMicros === undefined ? 'nothing is billed' : `estimated at ${(estimateMicros / 1e6).toFixed(6)}`
  const taken = redactions === 0 ? '' : `; ${redactions} ${redactions === 1 ? 'match was' : 'matches were'} taken out`
  return [`  to the cloud (${leave}): ${LEAVES[leave]}; ${cost}${taken}`]
}

/** How sure the model was, where that was judged. */
function sure({ confidence }: AttemptExplanation): string[] {
  if (confidence === undefined) return []
  const { tokens, meanLogprob, minLogprob, isLow } = confidence
  const verdict = isLow ? 'less sure than the policy wants' : 'sure enough'
  return [
    `  ${verdict}: log probability ${meanLogprob.toFixed(2)} in the mean, ${minLogprob.toFixed(2)} at the lowest, of ${tokens} tokens`,
  ]
}

/** How far ahead the chosen node was predicted to be. */
function choice({ node, candidates, predicted }: AttemptExplanation): string {
  const others = candidates.flatMap(({ peerId, name, prediction }) =>
    prediction && peerId !== node.peerId ? [{ name, totalMs: prediction.totalMs }] : [],
  )
  const next = others.toSorted((a, b) => a.totalMs - b.totalMs)[0]
  if (!predicted) return ''
  if (!next) return candidates.length > 0 ? '; no other node could take it' : ''
  const aheadMs = next.totalMs - predicted.totalMs
  const verdict =
    aheadMs >= 0
      ? `predicted to end ${ms(aheadMs)} ms before ${next.name}`
      : `within the draw of the best, behind ${next.name}`
  return `; ${verdict}`
}

function candidateTable({ node, candidates }: AttemptExplanation): string {
  const width = Math.max('NODE'.length, ...candidates.map(({ name }) => name.length))
  const considered = candidates.flatMap(({ peerId, name, prediction }) =>
    prediction
      ? [[peerId === node.peerId ? '→' : '', name.padEnd(width), ...PARTS.map((part) => ms(prediction[part]))]]
      : [],
  )
  // a reason is longer than any number, and must not widen a column
  const rejected = candidates.flatMap(({ name, prediction, rejected: why = 'no reason was kept' }) =>
    prediction ? [] : [`   ${name.padEnd(width)}  rejected: ${why}`],
  )
  const [mark, name, ...parts] = HEADING
  const heading = [mark!, name!.padEnd(width), ...parts]
  return [...(considered.length > 0 ? [table([heading, ...considered])] : []), ...rejected].join('\n')
}

function comparison(
  predicted: NonNullable<AttemptExplanation['predicted']>,
  observed: AttemptExplanation['observed'],
): string {
  const firstMs = predicted.waitMs + predicted.loadMs + predicted.prefillMs + predicted.linkMs
  const seen = (value: number | undefined): string => (value === undefined ? '-' : `${ms(value)} ms`)
  return (
    `first token: predicted ${ms(firstMs)} ms, observed ${seen(observed?.firstTokenMs)} · ` +
    `decode: predicted ${ms(predicted.decodeMs)} ms, observed ${seen(observed?.decodeMs)}`
  )
}

const indent = (text: string): string => text.replace(/^/gm, '  ')
