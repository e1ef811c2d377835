import { Icon } from '../ui/index.ts'
import { words } from '../words/index.ts'
import './calls.css'

export interface ThoughtsProps {
  readonly text: string
  readonly isThinking: boolean
}

/** What a model thought before it spoke: folded, for it is not what was asked for. */
export function Thoughts({ text, isThinking }: ThoughtsProps) {
  if (text === '') return null
  const { chats: say } = words.value
  return (
    <details class="chats-fold">
      <summary>
        {isThinking ? <span class="chats-pulse" /> : <Icon name="spark" size={15} />}
        <span>{isThinking ? say.thinking : say.thoughts}</span>
        <span class="chats-fold-side">{say.thoughtTokens(text.trim().split(/\s+/).length)}</span>
        <Icon name="chevronRight" size={15} class="chats-chevron" />
      </summary>
      <div class="chats-fold-body">{text}</div>
    </details>
  )
}
