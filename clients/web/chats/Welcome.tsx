import { useRef } from 'preact/hooks'
import { Icon, type IconName } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { Chats } from './chats.ts'
import type { Conversation } from './conversation.ts'

export interface WelcomeProps {
  readonly chats: Chats
  readonly conversation: Conversation
}

const ICONS: readonly IconName[] = ['spark', 'edit', 'tasks']
const ICONS_TINY: readonly IconName[] = ['spark', 'mesh', 'lock']
/** The model that comes with Skein, which has suggestions of its own. */
const BUNDLED = 'skein-tiny'

interface Suggestion {
  readonly title: string
  readonly prompt: string
  /** What is asked where that differs from what is shown. */
  readonly ask?: string
}

/**
 * Whether the model is the one that comes with Skein, or none is there yet; undefined while the mesh has not said. What a
 * person may be about to press is not exchanged when a model comes: it stays until they choose another.
 */
function useIsFirst(chats: Chats, { id, settings }: Conversation): boolean | undefined {
  const decided = useRef<{ readonly about: string; readonly isFirst: boolean }>(undefined)
  const now = settings.value
  if (now === undefined) return undefined
  const model = chats.modelOf(now)
  const isAsked = ['unknown', 'online'].includes(chats.ports.gateway.state.value)
  const isKnown = model !== undefined || chats.models.choices.value !== undefined || !isAsked
  const about = `${id} ${now.model}`
  if (isKnown && decided.current?.about !== about)
    decided.current = { about, isFirst: model === undefined || model === BUNDLED }
  return decided.current?.about === about ? decided.current.isFirst : undefined
}

/** A chat before its first message: what this is, and three ways to begin. */
export function Welcome({ chats, conversation }: WelcomeProps) {
  const { chats: say } = words.value
  const settings = conversation.settings.value
  const model = settings && chats.modelOf(settings)
  const isTiny = model === BUNDLED
  const isFirst = useIsFirst(chats, conversation)
  const suggestions: readonly Suggestion[] = isFirst === false ? say.suggestions : say.suggestionsTiny
  return (
    <div class="chats-view">
      <div class="chats-column chats-welcome">
        <h2>{say.welcome}</h2>
        <p class="chats-welcome-text">{settings?.localOnly === false ? say.welcomeOpen : say.welcomeText}</p>
        <ul class="chats-suggestions" role="list" data-waiting={isFirst === undefined}>
          {suggestions.map(({ title, prompt, ask = prompt }, index) => (
            <li key={prompt}>
              <button
                type="button"
                class="chats-suggestion"
                onClick={() => {
                  chats.composerWanted.value++
                  void chats.do(() => conversation.send(ask))
                }}
              >
                <Icon name={(isFirst ? ICONS_TINY : ICONS)[index] ?? 'chat'} size={18} />
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
