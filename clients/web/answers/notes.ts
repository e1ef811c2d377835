/** What the mesh says of an answer while it is at it, in words of its own, read into what the page shows. */
import type { DeviceCall, Note } from './types.ts'

const TEXT_LENGTH_MAX = 300

export type Told =
  | { readonly type: 'note'; readonly note: Note }
  /** Another node has it now. */
  | { readonly type: 'moved'; readonly to: string; readonly reason: string }
  /** A node began it, or took it over. */
  | { readonly type: 'node'; readonly name: string }
  | { readonly type: 'call'; readonly call: DeviceCall }
  /** How the call that was told last of `tool` ended. */
  | { readonly type: 'call-ended'; readonly tool: string; readonly outcome: string; readonly text: string }

const CALL = /^call ([A-Za-z0-9._-]{1,200}) ([^]*)$/
const CONFIRM = /^confirm ([A-Za-z0-9._:-]{1,200}) ([A-Za-z0-9._-]{1,200}) ([^]*)$/
const ENDED = /^(?:read|set|ran) ([A-Za-z0-9._-]{1,200}): (.{1,300})$/s
const OUTCOME = /^(failed|expired|refused|unknown)(?: \((.*)\))?$/s
const QUEUED = /^queued (\d{1,9})$/
const LOADING = /^loading(?: (\d{1,3})%)?$/
const MOVED = /^(.{1,120}), (?:resuming on|moved to) (.{1,200})$/
const UNSURE = /^not sure enough of it, asking (.{1,200})$/
const LOOKING = /^(.{1,120}), looking for another$/
const NODE = /^node (.{1,200})$/

/** Why an answer moves, by the words of `coordinator/dispatch`. */
const REASONS: Readonly<Record<string, string>> = {
  'node lost': 'lost',
  'node failed': 'lost',
  'node is stalled': 'lost',
  'node is leaving': 'drain',
  'a better node is free': 'rebalance',
  'the slot went to a more urgent task': 'preempted',
}

/** What a status of the stream tells. Never throws: what is not known is shown as it is. */
export function toldBy(status: string): Told {
  const text = status.slice(0, TEXT_LENGTH_MAX)
  const queued = QUEUED.exec(text)
  if (queued) return noted({ kind: 'queued', place: Number(queued[1]) })
  const loading = LOADING.exec(text)
  if (loading)
    return noted({ kind: 'loading', percent: loading[1] === undefined ? undefined : Math.min(100, Number(loading[1])) })
  const moved = MOVED.exec(text)
  if (moved) return { type: 'moved', to: moved[2]!, reason: REASONS[moved[1]!] ?? 'other' }
  const unsure = UNSURE.exec(text)
  if (unsure) return { type: 'moved', to: unsure[1]!, reason: 'escalated' }
  const looking = LOOKING.exec(text)
  if (looking)
    return noted({ kind: 'moving', reason: REASONS[looking[1]!] === 'lost' ? 'lost' : 'other', to: undefined })
  const node = NODE.exec(text)
  if (node) return { type: 'node', name: node[1]! }
  return calledBy(status) ?? noted({ kind: 'other', text })
}

function calledBy(status: string): Told | undefined {
  const confirm = CONFIRM.exec(status)
  if (confirm) {
    const [, call, tool, given] = confirm as unknown as [string, string, string, string]
    return { type: 'call', call: { tool, arguments: given.slice(0, TEXT_LENGTH_MAX), state: 'confirm', call } }
  }
  const ended = ENDED.exec(status)
  if (ended) {
    const [, tool, text] = ended as unknown as [string, string, string]
    const other = OUTCOME.exec(text)
    return { type: 'call-ended', tool, outcome: other?.[1] ?? 'done', text: other ? (other[2] ?? '') : text }
  }
  const called = CALL.exec(status)
  if (!called) return undefined
  const [, tool, given] = called as unknown as [string, string, string]
  return { type: 'call', call: { tool, arguments: given.slice(0, TEXT_LENGTH_MAX), state: 'begun' } }
}

const noted = (note: Note): Told => ({ type: 'note', note })
