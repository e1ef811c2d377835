import { useState } from 'preact/hooks'
import type { LiveAnswer, Made, Move, Note, Problem, ProblemAction } from '../answers/index.ts'
import type { MessageRow } from '../store/index.ts'
import { Button, Icon } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { Chats } from './chats.ts'
import type { Conversation } from './conversation.ts'
import { WhyDialog } from './dialogs.tsx'

const PERCENT = 100
const SECOND_MS = 1000

/** What an answer waits for, and where it went while it came. */
export function AnswerNotes({ chats, live }: { readonly chats: Chats; readonly live: LiveAnswer }) {
  // what waits for a person, or for a device, says so itself
  const isActing = live.calls.value.some(({ state }) => state !== 'ended')
  const note = isActing ? undefined : live.note.value
  const { answers } = chats.ports
  const waiting = answers.outbox.value.find(({ messageId }) => messageId === live.messageId)
  const isAwaited = !isActing && live.text.value === '' && live.phase.value === 'asking'
  return (
    <>
      <Moves made={live.made.value} />
      {note ? (
        <p class="chats-note">
          {note.kind === 'outbox' ? <Icon name="clock" size={15} /> : <span class="chats-pulse" />}
          <span>{waiting?.waitsForOther === true ? words.value.chats.queuedBehind : noteText(note)}</span>
          {waiting && (
            <Button size="s" kind="quiet" onClick={() => void chats.do(() => answers.stop(live.messageId))}>
              {words.value.chats.takeBack}
            </Button>
          )}
        </p>
      ) : (
        isAwaited && (
          <p class="chats-note" aria-hidden="true">
            <span class="chats-pulse" />
          </p>
        )
      )}
    </>
  )
}

/** Where the answer moved: a note, since nothing of it was lost. */
export function Moves({ made }: { readonly made: Made }) {
  return (
    <>
      {made.moves?.map((move, index) => (
        <p key={index} class="chats-note">
          <Icon name="route" size={15} />
          <span>{moveText(move)}</span>
        </p>
      ))}
    </>
  )
}

function moveText({ from, to, reason }: Move): string {
  const { notes } = words.value.chats
  if (reason === 'escalated') return notes.escalatedTo(to)
  return from !== undefined && (reason === undefined || reason === 'lost')
    ? notes.movedFromTo(from, to)
    : notes.movedTo(to)
}

export function noteText(note: Note): string {
  const { notes, queuedMessage } = words.value.chats
  switch (note.kind) {
    case 'outbox':
      return queuedMessage
    case 'asking':
      return notes.asking
    case 'queued':
      return notes.queued(note.place)
    case 'loading':
      return notes.loading(note.percent)
    case 'moving':
      if (note.reason === 'escalated') return notes.unsure(note.to)
      return note.reason === 'lost' ? notes.lost(note.to) : notes.moving(note.to)
    case 'reconnecting':
      return notes.reconnecting
    case 'catching-up':
      return notes.catchingUp(Math.round(note.done * PERCENT))
    case 'saturated':
      return notes.saturated(Math.ceil(note.againMs / SECOND_MS))
    case 'other':
      return note.text
  }
}

export interface ProblemNoteProps {
  readonly chats: Chats
  readonly conversation: Conversation
  readonly message: MessageRow
  readonly problem: Problem
}

/** Why an answer failed, in words, with what can be done about it. */
export function ProblemNote({ chats, conversation, message, problem }: ProblemNoteProps) {
  const [isExplained, setExplained] = useState(false)
  const { chats: say } = words.value
  const act: Record<ProblemAction, () => void> = {
    retry: () => void chats.do(() => conversation.retry(message.id)),
    continue: () => void chats.do(() => conversation.goOn(message.id)),
    key: () => chats.ports.go('/settings'),
    model: () => void chats.modelWanted.value++,
    settings: () => {
      chats.isSettingsOpen.value = true
    },
    explain: () => setExplained(true),
  }
  const labels: Record<ProblemAction, string> = {
    ...{ retry: say.retry, continue: say.goOn, key: say.actions.key, model: say.chooseModel },
    ...{ settings: say.settings, explain: say.whyHere },
  }
  return (
    <div class="chats-problem" role="alert">
      <Icon name="alert" size={17} />
      <span class="chats-problem-text">
        {say.problems[problem.kind] ?? say.problems.failed}
        {problem.message !== '' && <div class="chats-problem-detail">{problem.message}</div>}
      </span>
      {problem.actions.map((action) => (
        <Button key={action} size="s" onClick={act[action]}>
          {labels[action]}
        </Button>
      ))}
      {isExplained && problem.taskId !== undefined && (
        <WhyDialog chats={chats} made={{ taskId: problem.taskId }} onClose={() => setExplained(false)} />
      )}
    </div>
  )
}
