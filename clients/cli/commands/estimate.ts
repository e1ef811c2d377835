/** What `skein run --estimate` says: where a request would go, why, and what it would cost. */
import type { Estimate } from '../coordinator-client.ts'
import { formatDuration } from '../output.ts'

type Place = NonNullable<Estimate['place']>

const VERDICTS: Readonly<Record<Estimate['verdict'], string>> = {
  starts: 'would start at once',
  waits: 'would wait for a place',
  'stands-in': 'would not be asked: another model would answer',
  refused: 'would be refused',
}

/** Of the owner's currency. */
const units = (micros: number): string => (micros / 1e6).toFixed(6)
const grouped = (count: number): string => String(count).replaceAll(/\B(?=(\d{3})+$)/g, ',')

/** Of a prediction, which knows no more than a tenth of a second. */
function timeText(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`
  return ms < 60_000 ? `${(ms / 1000).toFixed(1)} s` : formatDuration(ms)
}

export function renderEstimate(estimate: Estimate): string {
  const { model, verdict, place, cascade, standIn, error, tokens, mayLeaveFor } = estimate
  const where = place ? ` on ${place.name} (${place.route})` : ''
  const leaves = place?.leave === undefined ? '' : `; it would leave your nodes: ${place.leave}`
  const later = mayLeaveFor.length === 0 ? 'nothing' : mayLeaveFor.join(', ')
  const read = `about ${grouped(tokens.prompt)} to read (at most ${grouped(tokens.promptMax)})`
  const made = `about ${grouped(tokens.completion)} to make (at most ${grouped(tokens.completionMax)})`
  const rows: [string, string | undefined][] = [
    ['Why', error && `${error.message} (${error.code})`],
    ['Instead', standIn],
    ['Tokens', `${read}, ${made}`],
    ['Cost', place && costText(place)],
    ['Time', place && `about ${timeText(place.predicted.totalMs - place.predicted.penaltyMs)}`],
    ['Unsure', cascade && `asked again on ${cascade.name}: ${costText(cascade)}`],
    ['Cloud', `it may leave for: ${later}`],
    ...estimate.candidates.flatMap(({ name, rejected }): [string, string][] =>
      rejected === undefined ? [] : [['Not', `${name}: ${rejected}`]],
    ),
  ]
  const lines = rows.flatMap(([label, value]) => (value === undefined ? [] : [`  ${label.padEnd(8)} ${value}`]))
  return [`${model} ${VERDICTS[verdict]}${where}${leaves}`, ...lines].join('\n')
}

const costText = ({ cost, route }: Place): string =>
  cost === undefined
    ? route === 'cloud'
      ? 'nothing is billed there'
      : 'nothing'
    : `about ${units(cost.expectedMicros)}, at most ${units(cost.maxMicros)}`
