/** What `skein run --estimate` says: where a request would go, why, and what it would cost. */
import type { Estimate } from '../coordinator-client.ts'

type Place = NonNullable<Estimate['place']>

const VERDICTS: Readonly<Record<Estimate['verdict'], string>> = {
  starts: 'would start at once',
  waits: 'would wait for a place',
  'stands-in': 'would not be asked: another model would answer',
  refused: 'would be refused',
}

/** Of the owner's currency. */
const units = (micros: number): string => (micros / 1e6).toFixed(6)
const ms = (value: number): string => `${Math.round(value)} ms`

export function renderEstimate(estimate: Estimate): string {
  const { model, verdict, place, cascade, standIn, error, tokens, mayLeaveFor } = estimate
  const lines = [`${model} ${VERDICTS[verdict]}${place ? ` on ${place.name} (${place.route})` : ''}`]
  if (standIn !== undefined) lines.push(`  in its place: ${standIn}`)
  if (error) lines.push(`  ${error.code}: ${error.message}`)
  if (place?.leave !== undefined) lines.push(`  it would leave your nodes: ${place.leave}`)
  lines.push(
    `  tokens: some ${tokens.prompt} to read (at most ${tokens.promptMax}), some ${tokens.completion} to make (at most ${tokens.completionMax})`,
  )
  if (place)
    lines.push(`  cost: ${costText(place)}`, `  time: some ${ms(place.predicted.totalMs - place.predicted.penaltyMs)}`)
  if (cascade) lines.push(`  if the answer is not sure enough: again on ${cascade.name}, ${costText(cascade)}`)
  const later = mayLeaveFor.length === 0 ? 'nothing' : mayLeaveFor.join(', ')
  lines.push(`  your policy lets it leave for: ${later}`)
  const rejected = estimate.candidates.filter((each) => each.rejected !== undefined)
  return [...lines, ...rejected.map(({ name, rejected: why }) => `  not ${name}: ${why}`)].join('\n')
}

const costText = ({ cost, route }: Place): string =>
  cost === undefined
    ? route === 'cloud'
      ? 'nothing is billed there'
      : 'nothing'
    : `some ${units(cost.expectedMicros)}, at most ${units(cost.maxMicros)}`
