import { Icon, type IconName } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { Chats } from './chats.ts'
import type { Conversation } from './conversation.ts'

export interface WelcomeProps {
  readonly chats: Chats
  readonly conversation: Conversation
}

const ICONS: readonly IconName[] = ['spark', 'mesh', 'lock']
/** The model that comes with Skein, for which the suggestions are made. */
const BUNDLED = 'skein-tiny'

/** A chat before its first message: what this is, and three ways to begin. */
export function Welcome({ chats, conversation }: WelcomeProps) {
  const { chats: say } = words.value
  const settings = conversation.settings.value
  const isTiny = settings !== undefined && chats.modelOf(settings) === BUNDLED
  return (
    <div class="chats-view">
      <div class="chats-column chats-welcome">
        <h2>{say.welcome}</h2>
        <p class="chats-welcome-text">{settings?.localOnly === false ? say.welcomeOpen : say.welcomeText}</p>
        <ul class="chats-suggestions" role="list">
          {say.suggestions.map(({ title, prompt }, index) => (
            <li key={prompt}>
              <button
                type="button"
                class="chats-suggestion"
                onClick={() => {
                  chats.composerWanted.value++
                  void chats.do(() => conversation.send(prompt))
                }}
              >
                <Icon name={ICONS[index] ?? 'chat'} size={18} />
                <span class="chats-suggestion-title">{title}</span>
                <span class="chats-suggestion-text">{prompt}</span>
              </button>
            </li>
          ))}
        </ul>
        {isTiny && <p class="chats-welcome-note">{say.tinyNote}</p>}
      </div>
    </div>
  )
}
