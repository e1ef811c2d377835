/** What can be done with a chat. */
import { showToast, type MenuItem } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { Chats } from './chats.ts'

/** A chat, as far as its menu needs it. */
export interface MenuChat {
  readonly id: string
  readonly title: string
  readonly folder: string
  readonly isPinned: boolean
}

export type ChatDialog = 'rename' | 'move'

/** What can be done with a chat, in the list and in its header. */
export function chatMenu(chats: Chats, chat: MenuChat, open: (dialog: ChatDialog) => void): MenuItem[] {
  const { chats: say } = words.value
  const { id, isPinned } = chat
  return [
    { label: say.rename, icon: 'edit', keys: 'F2', onSelect: () => open('rename') },
    {
      label: isPinned ? say.unpin : say.pin,
      icon: 'pin',
      onSelect: () => void chats.do(() => chats.library.set(id, { pinned: !isPinned })),
    },
    { label: say.move, icon: 'folder', onSelect: () => open('move') },
    'separator',
    {
      label: say.exportMarkdown,
      icon: 'download',
      onSelect: () => void chats.do(() => chats.ports.saveChat(id, 'markdown')),
    },
    {
      label: say.exportJsonl,
      icon: 'download',
      onSelect: () => void chats.do(() => chats.ports.saveChat(id, 'jsonl')),
    },
    'separator',
    { label: say.delete, icon: 'trash', isDanger: true, onSelect: () => removeChat(chats, chat) },
  ]
}

/** Hides a chat at once, and deletes it unless it is taken back. */
export function removeChat(chats: Chats, { id, title }: MenuChat): void {
  const { chats: say } = words.value
  void chats.do(() => chats.remove(id))
  showToast({
    text: say.deleted(title === '' ? say.untitled : title),
    action: { label: say.undo, onClick: () => chats.library.undoDelete() },
  })
}
