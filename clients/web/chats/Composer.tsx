import { useEffect, useRef, useState } from 'preact/hooks'
import { pickFiles } from '../platform/index.ts'
import { Button, Icon, IconButton } from '../ui/index.ts'
import { format, words } from '../words/index.ts'
import { PASTE_MAX, takeFiles, tokensAbout, type Taken } from './attachments.ts'
import type { Chats } from './chats.ts'
import type { Conversation } from './conversation.ts'
import { endsInput, growToFit, isTouch } from './input.ts'
import type { StickyScroll } from './sticky-scroll.ts'
import './composer.css'

export interface ComposerProps {
  readonly chats: Chats
  readonly conversation: Conversation
  readonly scroll: StickyScroll
}

/** Where a message is written. */
export function Composer({ chats, conversation, scroll }: ComposerProps) {
  const input = useRef<HTMLTextAreaElement>(null)
  const files = useFiles(conversation)
  const { chats: say } = words.value
  const isOffline = chats.ports.answers.isReachable.value === false
  const running = chats.runningIn(conversation)
  const draft = conversation.draft.value
  useEffect(() => growToFit(input.current!), [draft])
  useFocus(chats, conversation, input)
  const send = (): void => {
    if (!conversation.canSend()) return
    scroll.toEnd()
    void chats.do(() => conversation.sendDraft())
  }
  return (
    <div
      class={files.isTarget ? 'chats-composer chats-is-target' : 'chats-composer'}
      onDragOver={files.onDragOver}
      onDragLeave={files.onDragLeave}
      onDrop={files.onDrop}
    >
      <Chips conversation={conversation} />
      <textarea
        ref={input}
        class="chats-input"
        rows={1}
        aria-label={say.message}
        placeholder={files.isTarget ? say.dropHere : isOffline ? say.placeholderOffline : say.placeholder}
        value={draft}
        onInput={(event) => conversation.type(event.currentTarget.value)}
        onPaste={files.onPaste}
        onKeyDown={(event) => {
          if (endsInput(event) && !isTouch()) {
            event.preventDefault()
            send()
          } else if (event.key === 'ArrowUp' && draft === '' && conversation.editLast()) {
            event.preventDefault()
          }
        }}
      />
      <div class="chats-composer-row">
        <IconButton icon="attach" label={say.attach} onClick={() => void files.choose()} />
        <span class="chats-hint">{say.enterHint}</span>
        <SendButton
          conversation={conversation}
          running={running}
          onSend={send}
          onStop={() => chats.stop(conversation)}
        />
      </div>
    </div>
  )
}

interface SendButtonProps {
  readonly conversation: Conversation
  readonly running: number
  readonly onSend: () => void
  readonly onStop: () => void
}

/** Stops what comes, while there is nothing to send. */
function SendButton({ conversation, running, onSend, onStop }: SendButtonProps) {
  const { chats: say } = words.value
  const canSend = conversation.canSend()
  if (running > 0 && !canSend)
    return (
      <button
        type="button"
        class="chats-send chats-send-stop"
        aria-label={say.stop}
        title={`${say.stop} (Esc)`}
        onClick={onStop}
      >
        <Icon name="stop" size={18} />
      </button>
    )
  return (
    <button type="button" class="chats-send" aria-label={say.send} disabled={!canSend} onClick={onSend}>
      <Icon name="send" size={18} />
    </button>
  )
}

function Chips({ conversation }: { readonly conversation: Conversation }) {
  const attachments = conversation.attachments.value
  if (attachments.length === 0) return null
  const { chats: say } = words.value
  return (
    <ul class="chats-chips" role="list">
      {attachments.map(({ name, text }, index) => (
        <li key={index} class="chats-chip">
          <Icon name="file" size={14} />
          <span class="chats-file-name">{name}</span>
          <span class="chats-file-size">{say.attachmentSize(format.number(tokensAbout(text)))}</span>
          <IconButton
            icon="close"
            size="s"
            label={say.removeAttachment(name)}
            onClick={() => {
              conversation.attachments.value = attachments.filter((_, other) => other !== index)
            }}
          />
        </li>
      ))}
    </ul>
  )
}

/** The box takes the focus when a chat is opened, where that raises no screen keyboard, and when it is asked to. */
function useFocus(
  chats: Chats,
  conversation: Conversation,
  input: { readonly current: HTMLTextAreaElement | null },
): void {
  const wanted = chats.composerWanted.value
  useEffect(() => {
    if (wanted > 0 || !isTouch()) input.current?.focus({ preventScroll: true })
  }, [conversation, wanted])
}

/** Files that are chosen, dropped or pasted. */
function useFiles(conversation: Conversation) {
  const [isTarget, setTarget] = useState(false)
  const { chats: say } = words.value
  const add = async (files: readonly File[]): Promise<void> => {
    conversation.addFiles(await takeFiles(files, conversation.attachments.peek().length))
  }
  return {
    isTarget,
    choose: async (): Promise<void> => add(await pickFiles({ isMany: true })),
    onDragOver: (event: DragEvent): void => {
      if (!event.dataTransfer?.types.includes('Files')) return
      event.preventDefault()
      setTarget(true)
    },
    onDragLeave: (): void => setTarget(false),
    onDrop: (event: DragEvent): void => {
      setTarget(false)
      if (!event.dataTransfer || event.dataTransfer.files.length === 0) return
      event.preventDefault()
      void add([...event.dataTransfer.files])
    },
    onPaste: (event: ClipboardEvent): void => {
      const files = [...(event.clipboardData?.files ?? [])]
      const text = event.clipboardData?.getData('text/plain') ?? ''
      if (files.length > 0 && text === '') {
        event.preventDefault()
        void add(files)
      } else if (text.length > PASTE_MAX) {
        event.preventDefault()
        void add([new File([text], say.pastedName, { type: 'text/plain' })])
      }
    },
  }
}

/** What stands over the box: why something was not taken, and what happens to what is sent now. */
export function ComposerNotes({ chats, conversation }: Pick<ComposerProps, 'chats' | 'conversation'>) {
  const { chats: say } = words.value
  const { answers } = chats.ports
  const refused = conversation.refused.value
  const waiting = answers.outbox.value.length
  const context = chats.contextOf(conversation)
  const tokens = conversation.tokensAbout()
  return (
    <>
      {refused.map((one, index) => (
        <p key={index} class="chats-above chats-above-warning" role="alert">
          <Icon name="alert" size={15} />
          {refusalText(one)}
        </p>
      ))}
      {context !== undefined && tokens > context && conversation.canSend() && (
        <p class="chats-above chats-above-warning">
          <Icon name="alert" size={15} />
          {say.mayNotFit(format.number(tokens), format.number(context))}
        </p>
      )}
      {answers.isReachable.value === false && (
        <p class="chats-above">
          <Icon name="clock" size={15} />
          <span>
            {say.offline} {waiting > 0 && say.waitingToSend(waiting)}
          </span>
          <Button size="s" kind="quiet" onClick={() => answers.poke()}>
            {say.tryNow}
          </Button>
        </p>
      )}
    </>
  )
}

function refusalText(taken: Taken): string {
  const { chats: say } = words.value
  return 'refusal' in taken ? say.refusals[taken.refusal](taken.name) : ''
}
