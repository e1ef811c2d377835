import { useState } from 'preact/hooks'
import { Button, Dialog, Field } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { ChatDialog, MenuChat } from './chat-menu.ts'
import type { Chats } from './chats.ts'
import { TITLE_LIMIT } from './titles.ts'

const FOLDER_MAX = 80

export interface ChatDialogsProps {
  readonly chats: Chats
  readonly chat: MenuChat
  readonly dialog: ChatDialog | undefined
  readonly onClose: () => void
}

/** Renames a chat, or moves it. */
export function ChatDialogs({ chats, chat, dialog, onClose }: ChatDialogsProps) {
  const { chats: say } = words.value
  if (dialog === 'rename')
    return (
      <OneField
        title={say.renameTitle}
        label={say.title}
        start={chat.title}
        max={TITLE_LIMIT}
        isNeeded
        onSave={(title) => void chats.do(() => chats.library.set(chat.id, { title }))}
        onClose={onClose}
      />
    )
  if (dialog === 'move')
    return (
      <OneField
        title={say.moveTitle}
        label={say.folderName}
        hint={say.folderHint}
        start={chat.folder}
        max={FOLDER_MAX}
        suggestions={chats.library.folders.value}
        onSave={(folder) => void chats.do(() => chats.library.set(chat.id, { folder }))}
        onClose={onClose}
      />
    )
  return null
}

interface OneFieldProps {
  readonly title: string
  readonly label: string
  readonly hint?: string
  readonly start: string
  readonly max: number
  readonly isNeeded?: boolean
  readonly suggestions?: readonly string[]
  readonly onSave: (value: string) => void
  readonly onClose: () => void
}

function OneField({ title, label, hint, start, max, isNeeded, suggestions = [], onSave, onClose }: OneFieldProps) {
  const [value, setValue] = useState(start)
  const { chats: say } = words.value
  const isGood = isNeeded !== true || value.trim() !== ''
  const save = (): void => {
    if (!isGood) return
    onSave(value.trim())
    onClose()
  }
  return (
    <Dialog
      title={title}
      size="s"
      onClose={onClose}
      actions={
        <>
          <Button onClick={onClose}>{say.cancel}</Button>
          <Button kind="primary" disabled={!isGood} onClick={save}>
            {say.save}
          </Button>
        </>
      }
    >
      <Field
        label={label}
        {...(hint !== undefined && { hint })}
        value={value}
        maxLength={max}
        autofocus
        {...(suggestions.length > 0 && { list: 'chats-folders' })}
        onInput={setValue}
        onKeyDown={(event) => {
          if (event.key !== 'Enter' || event.isComposing) return
          // else it would press the button that has the focus once the dialog is gone
          event.preventDefault()
          save()
        }}
      />
      {suggestions.length > 0 && (
        <datalist id="chats-folders">
          {suggestions.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
      )}
    </Dialog>
  )
}
