import { effect, useComputed, useSignal } from '@preact/signals'
import { useEffect, useMemo } from 'preact/hooks'
import { Button, Empty } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { Chats } from './chats.ts'
import { Composer, ComposerNotes } from './Composer.tsx'
import type { Conversation } from './conversation.ts'
import { Header } from './Header.tsx'
import { SettingsDialog } from './dialogs.tsx'
import { StickyScroll } from './sticky-scroll.ts'
import { JumpToEnd, Transcript } from './Transcript.tsx'
import { Welcome } from './Welcome.tsx'
import './chats.css'

export interface ChatPageProps {
  readonly chats: Chats
  /** Absent: a new chat. */
  readonly chatId?: string | undefined
}

/** A conversation: what was said, and where more is said. */
export function ChatPage({ chats, chatId }: ChatPageProps) {
  const conversation = useMemo(() => chats.open(chatId), [chats, chatId])
  const scroll = useMemo(() => new StickyScroll(), [conversation])
  const isEmpty = useComputed(() => conversation.path.value.length === 0)
  const { chats: say } = words.value
  const settings = conversation.settings.value
  const state = conversation.state.value
  if (state === 'gone')
    return (
      <div class="chats-page">
        <Empty
          icon="chat"
          title={say.gone}
          action={<Button onClick={() => chats.newChat()}>{say.goneAction}</Button>}
        />
      </div>
    )
  return (
    <div class="chats-page">
      {settings ? (
        <Header chats={chats} conversation={conversation} settings={settings} />
      ) : (
        <div class="chats-header" />
      )}
      {state === 'new' || (state === 'open' && isEmpty.value) ? (
        <Welcome chats={chats} conversation={conversation} />
      ) : (
        <Transcript key={conversation.id} chats={chats} conversation={conversation} scroll={scroll} />
      )}
      <div class="chats-foot">
        <JumpToEnd scroll={scroll} />
        <div class="chats-column">
          <ComposerNotes chats={chats} conversation={conversation} />
          <Composer chats={chats} conversation={conversation} scroll={scroll} />
        </div>
      </div>
      <Announcements chats={chats} conversation={conversation} />
      {chats.isSettingsOpen.value && settings && (
        <SettingsDialog
          chats={chats}
          conversation={conversation}
          settings={settings}
          onClose={() => {
            chats.isSettingsOpen.value = false
          }}
        />
      )}
    </div>
  )
}

/** Tells readers of screens where an answer begins and ends, and nothing in between. */
function Announcements({ chats, conversation }: { readonly chats: Chats; readonly conversation: Conversation }) {
  const text = useSignal('')
  useEffect(() => {
    let last: string | undefined
    return effect(() => {
      const live = [...chats.ports.answers.running.value.values()].find(({ chatId }) => chatId === conversation.id)
      const phase = live?.phase.value
      const { chats: say } = words.value
      if (phase === 'thinking' || phase === 'writing') {
        last = live!.messageId
        text.value = say.generating
      } else if (last !== undefined && (phase === undefined || phase === 'done')) {
        text.value = say.complete
        last = undefined
      } else if (phase === 'stopped') {
        text.value = say.stoppedStatus
        last = undefined
      } else if (phase === 'failed') {
        text.value = ''
        last = undefined
      }
    })
  }, [conversation])
  return (
    <div class="ui-offscreen" role="status" aria-live="polite">
      {text.value}
    </div>
  )
}
