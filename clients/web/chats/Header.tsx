import { useState } from 'preact/hooks'
import type { ChatSettings } from '../store/index.ts'
import { Icon, IconButton, Menu, Tooltip } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { Chats } from './chats.ts'
import type { Conversation } from './conversation.ts'
import { chatMenu, type ChatDialog } from './chat-menu.ts'
import { ChatDialogs } from './dialogs.tsx'
import { ModelPicker } from './ModelPicker.tsx'

export interface HeaderProps {
  readonly chats: Chats
  readonly conversation: Conversation
  readonly settings: ChatSettings
}

/** What a chat is called, who answers it, and whether anything of it may leave the house. */
export function Header({ chats, conversation, settings }: HeaderProps) {
  const { chats: say } = words.value
  const [dialog, setDialog] = useState<ChatDialog>()
  const isNew = conversation.state.value === 'new'
  const { title, folder, pinned } = settings
  const openSettings = (): void => {
    chats.isSettingsOpen.value = true
  }
  const chat = { id: conversation.id, title, folder, isPinned: pinned }
  return (
    <header class="chats-header">
      <h1 class="chats-title">{title === '' ? say.untitled : title}</h1>
      <div class="chats-header-side">
        <ModelPicker chats={chats} conversation={conversation} settings={settings} />
        <Lock chats={chats} conversation={conversation} isLocal={settings.localOnly} />
        <span class={isNew ? '' : 'chats-is-spare'}>
          <IconButton icon="sliders" label={say.settings} onClick={openSettings} />
        </span>
        {!isNew && (
          <Menu
            label={say.more(title)}
            items={[
              { label: say.settings, icon: 'sliders', onSelect: openSettings },
              'separator',
              ...chatMenu(chats, chat, setDialog),
            ]}
            trigger={(trigger) => <IconButton icon="more" label={say.more(title)} {...trigger} />}
          />
        )}
      </div>
      <ChatDialogs chats={chats} chat={chat} dialog={dialog} onClose={() => setDialog(undefined)} />
    </header>
  )
}

interface LockProps {
  readonly chats: Chats
  readonly conversation: Conversation
  readonly isLocal: boolean
}

/** Whether answers stay at home: said in words, a sign and a colour, and changed with one press. */
function Lock({ chats, conversation, isLocal }: LockProps) {
  const { chats: say } = words.value
  return (
    <Tooltip text={isLocal ? say.localOnlyOn : say.localOnlyOff}>
      <button
        type="button"
        class="chats-lock"
        role="switch"
        aria-checked={isLocal}
        aria-label={say.localOnly}
        onClick={() => void chats.do(() => conversation.set({ localOnly: !isLocal }))}
      >
        <Icon name={isLocal ? 'lock' : 'unlock'} size={15} />
        <span class="chats-lock-text">{isLocal ? say.localOnly : say.cloudAllowed}</span>
      </button>
    </Tooltip>
  )
}
