import { useState } from 'preact/hooks'
import type { Made } from '../answers/index.ts'
import type { MessageRow } from '../store/index.ts'
import { Button, CopyButton, IconButton, Menu } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { Chats } from './chats.ts'
import type { Conversation } from './conversation.ts'
import { MadeLine } from './MadeLine.tsx'
import { saidBy } from './parts.ts'
import { fillsContext, isAtHome } from './models.ts'
import { Versions } from './Versions.tsx'
import { WhyDialog } from './dialogs.tsx'

export interface AnswerActionsProps {
  readonly chats: Chats
  readonly conversation: Conversation
  readonly message: MessageRow
  readonly made: Made
  readonly isLive: boolean
  readonly isLast?: boolean
  readonly text: () => string
}

/** Beneath an answer: where it was made, and what can be done with it. */
export function AnswerActions(props: AnswerActionsProps) {
  const { chats, conversation, message, made, isLive, isLast = false, text } = props
  const [isExplained, setExplained] = useState(false)
  const { chats: say } = words.value
  const isStopped = !isLive && message.status === 'stopped'
  const isCut = !isLive && message.status === 'done' && made.finish === 'length'
  const hasText = message.status !== 'failed' || saidBy(message.parts) !== ''
  // with the same limit the same answer would end at the same place
  const isFull = isCut && fillsContext(made, chats.contextOf(conversation))
  return (
    <>
      {(isStopped || isCut) && (
        <p class="chats-note">
          {isStopped ? say.stopped : isFull ? say.contextFull : say.cutOff}
          {isLast && !isFull && (
            <Button size="s" icon="play" onClick={() => void chats.do(() => conversation.goOn(message.id))}>
              {say.goOn}
            </Button>
          )}
        </p>
      )}
      <div class="chats-actions">
        <MadeLine made={made} onOpen={() => setExplained(true)} />
        <Versions conversation={conversation} message={message} />
        {!isLive && (
          <span class="chats-tools">
            {hasText && <CopyButton text={text} label={say.copy} />}
            <IconButton
              size="s"
              icon="refresh"
              label={say.regenerate}
              onClick={() => {
                chats.composerWanted.value++
                void chats.do(() => conversation.regenerate(message.id))
              }}
            />
            <OtherModels {...{ chats, conversation, message }} />
          </span>
        )}
      </div>
      {isExplained && <WhyDialog chats={chats} made={made} onClose={() => setExplained(false)} />}
    </>
  )
}

/** Another answer, by another model: there where there is another. */
function OtherModels({ chats, conversation, message }: Pick<AnswerActionsProps, 'chats' | 'conversation' | 'message'>) {
  const isLocal = conversation.settings.value?.localOnly !== false
  const others = (chats.models.choices.value ?? []).filter(({ id }) => id !== message.model)
  if (others.length === 0) return null
  const { chats: say } = words.value
  return (
    <Menu
      label={say.regenerateWith}
      items={others.map((model) => ({
        label: model.id,
        isDisabled: isLocal && !isAtHome(model),
        ...(isLocal && !isAtHome(model) && { detail: say.cloudBlocked }),
        onSelect: () => void chats.do(() => conversation.regenerate(message.id, model.id)),
      }))}
      trigger={(trigger) => <IconButton size="s" icon="chevronDown" label={say.regenerateWith} {...trigger} />}
    />
  )
}
