import type { ReadonlySignal } from '@preact/signals'
import type { VNode } from 'preact'
import { useEffect, useMemo, useRef } from 'preact/hooks'
import type { MessageRow } from '../store/index.ts'
import { Button } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { Answer } from './Answer.tsx'
import type { Chats } from './chats.ts'
import type { Conversation } from './conversation.ts'
import { NearView } from './near-view.ts'
import { Question } from './Question.tsx'
import type { StickyScroll } from './sticky-scroll.ts'

export interface TranscriptProps {
  readonly chats: Chats
  readonly conversation: Conversation
  readonly scroll: StickyScroll
}

/** So many at the end are drawn at once; those before them when they come near the view. */
const DRAWN_FIRST = 6
/** For how long a message that was found is marked. */
const SHOWN_MS = 4_000

/** What was said, on the branch that shows. */
export function Transcript({ chats, conversation, scroll }: TranscriptProps) {
  const view = useRef<HTMLDivElement>(null)
  const content = useRef<HTMLDivElement>(null)
  const near = useMemo(() => new NearView(() => view.current), [conversation])
  useEffect(() => scroll.attach(view.current!, content.current!), [scroll])
  useEffect(() => () => near.close(), [near])
  useWanted(chats, conversation, scroll, content)
  const drawn = useMemo(() => new Drawn(), [conversation])
  const path = conversation.path.value
  return (
    <div class="chats-view" ref={view} tabIndex={0} role="region" aria-label={words.value.chats.conversation}>
      <div class="chats-column chats-log" ref={content} role="log" aria-live="off">
        {path.map((message, index) => {
          const isLast = index === path.length - 1
          const startsNear = index >= path.length - DRAWN_FIRST
          return drawn.of(message, isLast, () =>
            message.role === 'user' ? (
              <Question key={placeOf(message)} {...{ chats, conversation, message, near, isLast, startsNear }} />
            ) : (
              <Answer key={placeOf(message)} {...{ chats, conversation, message, near, isLast, startsNear }} />
            ),
          )
        })}
      </div>
    </div>
  )
}

/** Versions of one message share a place, and with it the focus. */
const placeOf = ({ role, parentId }: MessageRow): string => `${role} behind ${parentId ?? ''}`

/** Elements of messages, the same for as long as their message is: then nothing of them is looked at when another one changes. */
class Drawn {
  readonly #known = new Map<
    string,
    { readonly message: MessageRow; readonly isLast: boolean; readonly element: VNode }
  >()

  of(message: MessageRow, isLast: boolean, draw: () => VNode): VNode {
    const known = this.#known.get(message.id)
    if (known?.message === message && known.isLast === isLast) return known.element
    const element = draw()
    this.#known.set(message.id, { message, isLast, element })
    return element
  }
}

/** Brings a message that a search has found into view, once it is there. */
function useWanted(
  chats: Chats,
  conversation: Conversation,
  scroll: StickyScroll,
  content: { readonly current: HTMLElement | null },
): void {
  const wanted = conversation.wanted.value
  const isThere = wanted !== undefined && conversation.path.value.some(({ id }) => id === wanted)
  useEffect(() => {
    if (!isThere) return undefined
    scroll.letGo()
    const message = content.current?.querySelector(`[data-message="${CSS.escape(wanted)}"]`)
    message?.scrollIntoView({ block: 'center' })
    return chats.ports.clock.after(SHOWN_MS, () => {
      conversation.wanted.value = undefined
    })
  }, [wanted, isThere])
}

/** Back to where the answer grows. */
export function JumpToEnd({
  scroll,
}: {
  readonly scroll: StickyScroll & { readonly isAtEnd: ReadonlySignal<boolean> }
}) {
  if (scroll.isAtEnd.value) return null
  return (
    <div class="chats-jump-anchor">
      <div class="chats-jump">
        <Button size="s" icon="arrowDown" onClick={() => scroll.toEnd()}>
          {words.value.chats.jumpToEnd}
        </Button>
      </div>
    </div>
  )
}
