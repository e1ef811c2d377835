/** What the pages of chats share: the list, the models, and the conversation that is open. */
import { computed, signal, type ReadonlySignal } from '@preact/signals'
import { copyText, onLeaving, smallStore, systemClock } from '../platform/index.ts'
import type { ChatSettings, SearchHit } from '../store/index.ts'
import { showToast } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { Conversation } from './conversation.ts'
import { Library } from './library.ts'
import { ModelList } from './model-list.ts'
import { firstChoice } from './models.ts'
import type { ChatsPorts } from './ports.ts'

export type ChatsInit = Omit<ChatsPorts, 'clock' | 'kept'> & Partial<Pick<ChatsPorts, 'clock' | 'kept'>>

/** For the keyboard map of the page. */
export interface Shortcut {
  /** Such as `Ctrl+Shift+O`; `Ctrl` is also the Command key. */
  readonly keys: string
  readonly label: () => string
  readonly run: () => void
  readonly when?: () => boolean
  readonly group: 'chat'
  /** Shown in the list of keys and handled where it is pressed. */
  readonly isShownOnly?: boolean
}

const DEFAULTS: ChatSettings = {
  ...{ title: '', folder: '', pinned: false, model: '', system: '', sampling: {} },
  // nothing leaves the house unless a person says so
  ...{ localOnly: true, devices: 'none' },
}

const LAST_MODEL = 'skein.chats.model'

export class Chats {
  readonly ports: ChatsPorts
  readonly library: Library
  readonly models: ModelList
  /** Grows when the search field of the list is wanted. */
  readonly searchWanted = signal(0)
  /** Grows when the composer is wanted. */
  readonly composerWanted = signal(0)
  /** Grows when the choice of models is wanted. */
  readonly modelWanted = signal(0)
  readonly isSettingsOpen = signal(false)
  readonly shortcuts: readonly Shortcut[]
  /** Device calls that the conversation asks its reader about. */
  readonly asking: ReadonlySignal<ReadonlySet<string>>
  readonly #open = signal<Conversation>()
  readonly #ends: (() => void)[]

  constructor(init: ChatsInit) {
    this.ports = { clock: systemClock, kept: smallStore, ...init }
    this.library = new Library(this.ports)
    this.models = new ModelList(this.ports)
    this.#ends = [onLeaving(() => this.#open.peek()?.leave())]
    this.shortcuts = this.#shortcuts()
    // as a text between: equal sets are the same then
    const ids = computed(() => this.#askedFor().join(' '))
    this.asking = computed(() => new Set(ids.value.split(' ')))
  }

  get current(): ReadonlySignal<Conversation | undefined> {
    return this.#open
  }

  /** The conversation of a page: that of `id`, or one that is new. The same for as long as the page is. */
  open(id: string | undefined): Conversation {
    const open = this.#open.peek()
    const isSame = open && (id === undefined ? open.state.peek() === 'new' : open.id === id)
    if (isSame) return open
    open?.close()
    const next = new Conversation({
      ...{ ports: this.ports, settings: DEFAULTS },
      modelOf: (settings) => this.modelOf(settings),
      ...(id !== undefined && { id }),
    })
    this.#open.value = next
    return next
  }

  newChat(): void {
    this.ports.go('/')
    this.composerWanted.value++
  }

  openChat(id: string, messageId?: string): void {
    this.ports.go(`/chat/${id}`)
    if (messageId !== undefined) void this.do(() => this.open(id).reveal(messageId))
  }

  /** A model that was chosen is that of the next new chat. */
  async chooseModel(conversation: Conversation, model: string): Promise<void> {
    this.ports.kept.set(LAST_MODEL, model)
    await conversation.set({ model })
  }

  /** The model that a conversation is answered by: its own, or the one that the page chooses. */
  modelOf(settings: ChatSettings): string | undefined {
    if (settings.model !== '') return settings.model
    const last = this.ports.kept.get(LAST_MODEL)
    const choices = this.models.choices.value
    return choices ? firstChoice(choices, last) : last
  }

  /** Answers that come in a conversation. */
  runningIn({ id }: Conversation): number {
    return [...this.ports.answers.running.value.values()].filter(({ chatId }) => chatId === id).length
  }

  /** Ends the answers of a conversation. */
  stop({ id }: Conversation): void {
    for (const { chatId, messageId } of this.ports.answers.running.peek().values())
      if (chatId === id) void this.do(() => this.ports.answers.stop(messageId))
  }

  /** Hides a chat, and leaves it if it is looked at. */
  async remove(id: string): Promise<void> {
    if (this.#open.peek()?.id === id) this.ports.go('/')
    await this.library.remove(id)
  }

  /** What the model of a conversation takes, in tokens; undefined while nobody has said. */
  contextOf({ settings }: Conversation): number | undefined {
    const model = settings.value && this.modelOf(settings.value)
    return this.models.choices.value?.find(({ id }) => id === model)?.contextTokens
  }

  /** Chats by their titles and by what was said in them; for whoever looks from elsewhere. */
  find(query: string, limit: number, signal?: AbortSignal): Promise<SearchHit[]> {
    return this.ports.store.search(query, { limit, ...(signal && { signal }) })
  }

  /** Does what a person has asked for; what goes wrong is told. */
  async do(work: () => Promise<unknown>): Promise<void> {
    try {
      await work()
    } catch (thrown) {
      showToast({ text: thrown instanceof Error ? thrown.message : String(thrown), tone: 'danger' })
    }
  }

  close(): void {
    this.#open.peek()?.close()
    this.library.close()
    this.models.close()
    for (const end of this.#ends) end()
  }

  #askedFor(): string[] {
    const open = this.#open.value
    return [...this.ports.answers.running.value.values()]
      .filter(({ chatId }) => chatId === open?.id)
      .flatMap(({ calls }) => calls.value)
      .flatMap(({ state, call }) => (state === 'confirm' && call !== undefined ? [call] : []))
  }

  #shortcuts(): readonly Shortcut[] {
    const say = (name: keyof typeof words.value.chats.keys) => (): string => words.value.chats.keys[name]
    const open = this.#open
    const group = 'chat'
    return [
      { keys: 'Ctrl+Shift+O', label: say('newChat'), run: () => this.newChat(), group },
      {
        keys: 'Escape',
        label: say('stop'),
        run: () => this.stop(open.peek()!),
        // in a dialog the key is the dialog's
        when: () =>
          open.peek() !== undefined &&
          this.runningIn(open.peek()!) > 0 &&
          document.querySelector('dialog:modal') === null,
        group,
      },
      { keys: 'ArrowUp', label: say('editLast'), run: () => open.peek()?.editLast(), group, isShownOnly: true },
      {
        keys: 'Ctrl+Shift+C',
        label: say('copyLast'),
        run: () => void copyText(open.peek()!.lastAnswer()),
        when: () => (open.peek()?.lastAnswer() ?? '') !== '',
        group,
      },
      { keys: 'Ctrl+Shift+F', label: say('search'), run: () => void this.searchWanted.value++, group },
    ]
  }
}

export const createChats = (init: ChatsInit): Chats => new Chats(init)
