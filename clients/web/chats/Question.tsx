import { useEffect, useRef, useState } from 'preact/hooks'
import { Button, CopyButton, Icon, IconButton } from '../ui/index.ts'
import type { MessageRow, Part } from '../store/index.ts'
import { format, words } from '../words/index.ts'
import { tokensAbout } from './attachments.ts'
import type { Chats } from './chats.ts'
import type { Conversation } from './conversation.ts'
import { endsInput, growToFit } from './input.ts'
import { useNear, type NearView } from './near-view.ts'
import { filesOf, heightAbout, saidBy } from './parts.ts'
import { Versions } from './Versions.tsx'

export interface QuestionProps {
  readonly chats: Chats
  readonly conversation: Conversation
  readonly message: MessageRow
  readonly near: NearView
  readonly isLast: boolean
  /** Drawn at once, before anybody has looked how near it is. */
  readonly startsNear: boolean
}

/** What the user has said: shown as it was typed. */
export function Question({ chats, conversation, message, near, isLast, startsNear }: QuestionProps) {
  const { ref, isNear } = useNear(near, startsNear, () => heightAbout(message.parts))
  const text = saidBy(message.parts)
  const isEditing = conversation.editing.value === message.id
  const className = [
    'chats-message',
    isLast && 'chats-message-last',
    isWanted(conversation, message) && 'chats-is-wanted',
  ]
  return (
    <article
      ref={ref}
      class={className.filter(Boolean).join(' ')}
      data-message={message.id}
      aria-label={words.value.chats.you}
    >
      <h2 class="ui-offscreen">{words.value.chats.you}</h2>
      <div class="chats-mine">
        <Files files={filesOf(message.parts)} />
        {isEditing ? (
          <Edit key={message.id} chats={chats} conversation={conversation} id={message.id} text={text} />
        ) : (
          text !== '' && <div class="chats-bubble">{text}</div>
        )}
        {isNear && !isEditing && (
          <div class="chats-actions">
            <span class="chats-tools">
              <CopyButton text={text} label={words.value.chats.copy} />
              <IconButton
                size="s"
                icon="edit"
                label={words.value.chats.edit}
                onClick={() => {
                  conversation.editing.value = message.id
                }}
              />
            </span>
            <Versions conversation={conversation} message={message} />
          </div>
        )}
      </div>
    </article>
  )
}

const isWanted = (conversation: Conversation, { id }: MessageRow): boolean => conversation.wanted.value === id

function Files({ files }: { readonly files: readonly (Part & { readonly type: 'file' })[] }) {
  if (files.length === 0) return null
  return (
    <div class="chats-files">
      {files.map(({ name, text }, index) => (
        <details key={index} class="chats-file">
          <summary>
            <Icon name="file" size={14} />
            <span class="chats-file-name">{name}</span>
            <span class="chats-file-size">{words.value.chats.attachmentSize(format.number(tokensAbout(text)))}</span>
          </summary>
          <pre tabIndex={0}>{text}</pre>
        </details>
      ))}
    </div>
  )
}

interface EditProps {
  readonly chats: Chats
  readonly conversation: Conversation
  readonly id: string
  readonly text: string
}

function Edit({ chats, conversation, id, text }: EditProps) {
  const input = useRef<HTMLTextAreaElement>(null)
  const [typed, setTyped] = useState(text)
  const { chats: say } = words.value
  const close = (): void => {
    conversation.editing.value = undefined
    chats.composerWanted.value++
  }
  const send = (): void => {
    const next = typed.trim()
    if (next === '') return
    conversation.editing.value = undefined
    void chats.do(() => conversation.edit(id, next))
    chats.composerWanted.value++
  }
  useEffect(() => {
    const field = input.current!
    growToFit(field)
    field.focus()
    field.setSelectionRange(field.value.length, field.value.length)
  }, [])
  return (
    <div class="chats-edit">
      <textarea
        ref={input}
        class="chats-input"
        rows={1}
        aria-label={say.editLabel}
        value={typed}
        onInput={(event) => {
          setTyped(event.currentTarget.value)
          growToFit(event.currentTarget)
        }}
        onKeyDown={(event) => {
          if (event.key === 'Escape') {
            event.preventDefault()
            event.stopPropagation()
            close()
          } else if (endsInput(event)) {
            event.preventDefault()
            send()
          }
        }}
      />
      <div class="chats-edit-row">
        <span class="chats-edit-hint">{say.editHint}</span>
        <Button size="s" onClick={close}>
          {say.cancel}
        </Button>
        <Button size="s" kind="primary" disabled={typed.trim() === ''} onClick={send}>
          {say.send}
        </Button>
      </div>
    </div>
  )
}
