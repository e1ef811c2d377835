import type { MessageRow } from '../store/index.ts'
import { IconButton } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { Conversation } from './conversation.ts'

export interface VersionsProps {
  readonly conversation: Conversation
  readonly message: MessageRow
}

/** ‹ 2/3 ›: where a message was edited or answered again, the way between its versions. */
export function Versions({ conversation, message }: VersionsProps) {
  const versions = conversation.versionsOf(message.id)
  if (versions.length < 2) return null
  const place = versions.findIndex(({ id }) => id === message.id)
  const { chats: say } = words.value
  const show = (index: number): void => {
    const version = versions[index]
    if (version) void conversation.show(version.id)
  }
  return (
    <span class="chats-versions" role="group" aria-label={say.version(place + 1, versions.length)}>
      <IconButton
        size="s"
        icon="chevronLeft"
        label={say.earlier}
        aria-disabled={place === 0}
        onClick={() => show(place - 1)}
      />
      <span aria-hidden="true">
        {place + 1}/{versions.length}
      </span>
      <IconButton
        size="s"
        icon="chevronRight"
        label={say.later}
        aria-disabled={place === versions.length - 1}
        onClick={() => show(place + 1)}
      />
    </span>
  )
}
