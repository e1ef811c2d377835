import type { ReadonlySignal } from '@preact/signals'
import { callsAtEnd, callsOf, type LiveAnswer, type Made, type Problem } from '../answers/index.ts'
import { Markdown } from '../markdown/index.ts'
import type { DeviceCall, MessageRow } from '../store/index.ts'
import { words } from '../words/index.ts'
import { AnswerActions } from './AnswerActions.tsx'
import type { Chats } from './chats.ts'
import type { Conversation } from './conversation.ts'
import { DeviceCalls } from './DeviceCalls.tsx'
import { AnswerNotes, Moves, ProblemNote, type ProblemNoteProps } from './Notes.tsx'
import { useNear, type NearView } from './near-view.ts'
import { heightAbout, isOpen, saidBy, thoughtBy } from './parts.ts'
import { Thoughts } from './Thoughts.tsx'

export interface AnswerProps {
  readonly chats: Chats
  readonly conversation: Conversation
  readonly message: MessageRow
  readonly near: NearView
  readonly isLast: boolean
  /** Drawn at once, before anybody has looked how near it is. */
  readonly startsNear: boolean
}

/** What a model has said, or is saying. Far from the view it is its plain text, which is cheap and can still be searched. */
export function Answer(props: AnswerProps) {
  const { chats, conversation, message, near, isLast, startsNear } = props
  const { ref, isNear } = useNear(near, startsNear, () => heightAbout(message.parts))
  const live = chats.ports.answers.live(message.id)
  const isDrawn = isNear || isLast || live !== undefined
  const isWanted = conversation.wanted.value === message.id
  const className = ['chats-message', isLast && 'chats-message-last', isWanted && 'chats-is-wanted']
  return (
    <article
      ref={ref}
      class={className.filter(Boolean).join(' ')}
      data-message={message.id}
      aria-label={words.value.chats.assistant}
    >
      {/* headings of an answer are below it, and screen readers go from one to the next */}
      <h2 class="ui-offscreen">{words.value.chats.assistant}</h2>
      <div key={message.id}>
        {live ? (
          <LiveBody {...props} live={live} />
        ) : isDrawn ? (
          <KeptBody {...props} />
        ) : (
          <div class="chats-answer chats-plain">{saidBy(message.parts)}</div>
        )}
      </div>
      {isDrawn && <Foot {...props} live={live} />}
    </article>
  )
}

/** An answer that comes: only what changes is drawn again, by the signals that it is made of. */
function LiveBody({ live, ...props }: AnswerProps & { readonly live: LiveAnswer }) {
  const { chats, conversation, message } = props
  return (
    <>
      <LiveThoughts live={live} />
      <LiveCalls chats={chats} calls={live.calls} />
      <div class="chats-answer">
        <Markdown source={live.text} isOpen />
      </div>
      <AnswerNotes chats={chats} live={live} />
      <LiveProblem {...{ chats, conversation, message }} problem={live.problem} />
    </>
  )
}

function LiveThoughts({ live }: { readonly live: LiveAnswer }) {
  return <Thoughts text={live.thought.value} isThinking={live.phase.value === 'thinking'} />
}

function LiveCalls({ chats, calls }: { readonly chats: Chats; readonly calls: ReadonlySignal<readonly DeviceCall[]> }) {
  return <DeviceCalls chats={chats} calls={calls.value} />
}

type LiveProblemProps = Omit<ProblemNoteProps, 'problem'> & { readonly problem: ReadonlySignal<Problem | undefined> }

function LiveProblem({ problem, ...rest }: LiveProblemProps) {
  return problem.value ? <ProblemNote {...rest} problem={problem.value} /> : null
}

/** One that has ended, as it is kept. */
function KeptBody({ chats, conversation, message }: AnswerProps) {
  const { parts, status } = message
  const problem = status === 'failed' ? (message.error as Problem | undefined) : undefined
  return (
    <>
      <Thoughts text={thoughtBy(parts)} isThinking={false} />
      <DeviceCalls chats={chats} calls={isOpen(message) ? callsOf(parts) : callsAtEnd(callsOf(parts))} />
      <div class="chats-answer">
        <Markdown source={saidBy(parts)} />
      </div>
      <Moves made={madeOf(message)} />
      {problem && <ProblemNote {...{ chats, conversation, message, problem }} />}
    </>
  )
}

/**
 * What stands beneath, kept in place while another version takes the place of this one: the focus stays where it was. An answer
 * that has ended lingers until its row is there; by then a person may want to do something with it.
 */
function Foot({ live, ...props }: AnswerProps & { readonly live: LiveAnswer | undefined }) {
  const { chats, conversation, message, isLast } = props
  const phase = live?.phase.value ?? (isOpen(message) ? 'asking' : 'done')
  const isOver = phase === 'done' || phase === 'stopped' || phase === 'failed'
  return (
    <AnswerActions
      {...{ chats, conversation, message, isLast }}
      isLive={!isOver}
      text={() => live?.text.peek() ?? saidBy(message.parts)}
      made={live?.made.value ?? madeOf(message)}
    />
  )
}

const madeOf = ({ made }: MessageRow): Made => (made ?? {}) as Made
