/** Why an attempt went where it did: each candidate with the parts of its prediction, or why it was none. */
import { Icon, Table, type Column } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import { compared, type Comparison } from './compared.ts'
import { millis, named, nodeHref } from './shared.tsx'
import { PARTS, type Candidate, type ExplainedAttempt, type Prediction } from './types.ts'

export function Why({ attempt }: { readonly attempt: ExplainedAttempt }) {
  const { rejected: rejectedTitle } = words.value.mesh
  const scored = attempt.candidates
    .filter((candidate) => candidate.prediction !== undefined)
    .sort((a, b) => a.prediction!.totalMs - b.prediction!.totalMs)
  const rejected = attempt.candidates.filter((candidate) => candidate.prediction === undefined)
  return (
    <div class="mesh-why">
      {attempt.leave !== undefined && <p>{leaveText(attempt.leave, attempt.estimateMicros)}</p>}
      {scored.length > 0 && <Candidates scored={scored} chosen={attempt.node.peerId} />}
      {rejected.length > 0 && (
        <div>
          <h3 class="mesh-why-title">{rejectedTitle}</h3>
          <ul class="mesh-rejected" role="list">
            {rejected.map((candidate) => (
              <li key={candidate.peerId}>
                <Icon name="close" size={14} />
                <span>
                  <a href={nodeHref(candidate.peerId)}>{candidate.name}</a> {rejectionText(candidate.rejected ?? '')}
                </span>
              </li>
            ))}
          </ul>
        </div>
      )}
      <Observed attempt={attempt} />
    </div>
  )
}

/** Why it left the owner's nodes, and what that was expected to cost. */
function leaveText(leave: string, estimateMicros: number | undefined): string {
  const { chats, mesh } = words.value
  const leaves: Readonly<Record<string, string>> = chats.leaves
  const why = leaves[leave] ?? chats.leaves.other
  return estimateMicros === undefined ? why : `${why} ${mesh.estimated(format.amount(estimateMicros))}`
}

function rejectionText(rejected: string): string {
  const { rejections, pausedRejection } = words.value.mesh
  return rejected.startsWith('paused: ')
    ? pausedRejection(rejected.slice('paused: '.length))
    : named(rejections, rejected)
}

function Candidates({ scored, chosen }: { readonly scored: readonly Candidate[]; readonly chosen: string }) {
  const { mesh } = words.value
  const longest = Math.max(1, ...scored.map((candidate) => candidate.prediction!.totalMs))
  // a part that is nothing everywhere needs no colour to be told by
  const shown = PARTS.filter((part) => scored.some((candidate) => candidate.prediction![part] > 0))
  return (
    <>
      <ul class="mesh-legend" role="list">
        {shown.map((part) => (
          <li key={part}>
            <span class={`mesh-swatch mesh-part-${part}`} /> {mesh.parts[part]}
          </li>
        ))}
      </ul>
      <ul class="mesh-candidates" role="list">
        {scored.map((candidate) => (
          <li
            key={candidate.peerId}
            class={candidate.peerId === chosen ? 'mesh-candidate mesh-candidate-chosen' : 'mesh-candidate'}
          >
            <span class="mesh-candidate-name">
              <a href={nodeHref(candidate.peerId)}>{candidate.name}</a>
              {candidate.peerId === chosen && (
                <span class="mesh-chosen">
                  <Icon name="check" size={13} /> {mesh.chosen}
                </span>
              )}
            </span>
            <Stack prediction={candidate.prediction!} longest={longest} />
            <span class="mesh-candidate-total">{millis(candidate.prediction!.totalMs)}</span>
          </li>
        ))}
      </ul>
    </>
  )
}

function Stack({ prediction, longest }: { readonly prediction: Prediction; readonly longest: number }) {
  const { parts } = words.value.mesh
  const shown = PARTS.filter((part) => prediction[part] > 0)
  const text = shown.map((part) => `${parts[part]} ${millis(prediction[part])}`).join(', ')
  return (
    <span class="mesh-stack" role="img" aria-label={text} title={text}>
      {shown.map((part) => (
        <span
          key={part}
          class={`mesh-part mesh-part-${part}`}
          style={{ width: `${(prediction[part] / longest) * 100}%` }}
        />
      ))}
    </span>
  )
}

function Observed({ attempt }: { readonly attempt: ExplainedAttempt }) {
  const { mesh } = words.value
  const rows = compared(attempt)
  if (rows.length === 0) return null
  const names: Readonly<Record<Comparison['what'], string>> = {
    accepted: mesh.accepted,
    firstToken: mesh.firstToken,
    decode: mesh.decoding,
    total: mesh.total,
  }
  const ms = (value: number | undefined): string => (value === undefined ? '—' : millis(value))
  const columns: readonly Column<Comparison>[] = [
    { id: 'what', label: mesh.what, cell: (row) => names[row.what] },
    { id: 'predicted', label: mesh.predicted, isNumeric: true, cell: (row) => ms(row.predictedMs) },
    { id: 'observed', label: mesh.observed, isNumeric: true, cell: (row) => ms(row.observedMs) },
  ]
  return (
    <Table
      label={`${mesh.attempt(attempt.attempt)}: ${mesh.predicted}, ${mesh.observed}`}
      columns={columns}
      rows={rows}
      rowKey={(row) => row.what}
    />
  )
}
