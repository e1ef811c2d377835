/** The chat that is looked at: its messages as a tree, the branch that shows, what is typed, and what can be done. */
import { batch, computed, signal, type ReadonlySignal } from '@preact/signals'
import type { Chat, ChatSettings, MessageRow } from '../store/index.ts'
import { tokensAbout, type Attachment, type Taken } from './attachments.ts'
import { isOpen, saidBy } from './parts.ts'
import type { ChatsPorts } from './ports.ts'
import { titleOf } from './titles.ts'
import { MessageTree } from './tree.ts'

/** `new`: nothing was sent yet, and nothing is kept but the draft; `gone`: it is not on this device. */
export type ConversationState = 'new' | 'opening' | 'open' | 'gone'

/** The draft of the moment at which the page was left: `[chat, text]`. */
const LEFT = 'skein.chats.left'
/** How long after the last key a draft is written, in ms. */
const DRAFT_MS = 400

export interface ConversationInit {
  readonly ports: ChatsPorts
  /** Absent: a new chat. */
  readonly id?: string
  /** Of a new chat. */
  readonly settings: ChatSettings
  /** The model of a chat that names none. */
  readonly modelOf: (settings: ChatSettings) => string | undefined
}

export class Conversation {
  readonly id: string
  readonly #ports: ChatsPorts
  readonly #modelOf: ConversationInit['modelOf']
  readonly #state = signal<ConversationState>('opening')
  readonly #settings = signal<ChatSettings>()
  readonly #messages = signal<readonly MessageRow[]>([])
  readonly #selected = signal<string>()
  readonly #tree: ReadonlySignal<MessageTree<MessageRow>>
  /** By a message, the one behind it that was looked at last: coming back to a branch shows it as it was left. */
  readonly #lastChild = new Map<string, string>()
  readonly #ends: (() => void)[] = []
  #stopDraft: (() => void) | undefined

  readonly path: ReadonlySignal<readonly MessageRow[]>
  readonly draft = signal('')
  readonly attachments = signal<readonly Attachment[]>([])
  /** Files that were not taken at the last try. */
  readonly refused = signal<readonly Taken[]>([])
  /** The user's message that is being edited. */
  readonly editing = signal<string>()
  /** A message that a search has found: it is scrolled to once it is there. */
  readonly wanted = signal<string>()

  constructor({ ports, id, settings, modelOf }: ConversationInit) {
    this.#ports = ports
    this.#modelOf = modelOf
    this.id = id ?? ports.store.newId()
    this.#tree = computed(() => new MessageTree(this.#messages.value))
    this.path = computed(() => {
      const tree = this.#tree.value
      const selected = this.#selected.value
      return tree.pathTo(tree.leafOf(selected !== undefined && tree.get(selected) ? selected : undefined))
    })
    if (id === undefined) {
      this.#state.value = 'new'
      this.#settings.value = settings
    } else {
      this.#watch()
    }
    void this.#loadDraft()
  }

  get state(): ReadonlySignal<ConversationState> {
    return this.#state
  }

  /** Undefined until it is read, and where there is no such chat. */
  get settings(): ReadonlySignal<ChatSettings | undefined> {
    return this.#settings
  }

  close(): void {
    this.keepDraft()
    for (const end of this.#ends.splice(0)) end()
  }

  /** The versions of a message, itself among them, in the order of their making. */
  versionsOf(id: string): readonly MessageRow[] {
    return this.#tree.value.versionsOf(id)
  }

  /** Shows the branch of a message, as it was left. */
  async show(id: string): Promise<void> {
    const leaf = this.#tree.peek().leafOf(id, this.#lastChild)
    if (leaf !== undefined) await this.#select(leaf)
  }

  /** Whether there is something to send. */
  canSend(): boolean {
    return this.draft.value.trim() !== '' || this.attachments.value.length > 0
  }

  addFiles(taken: readonly Taken[]): void {
    const added = taken.flatMap((one) => ('attachment' in one ? [one.attachment] : []))
    batch(() => {
      this.attachments.value = [...this.attachments.peek(), ...added]
      this.refused.value = taken.filter((one) => 'refusal' in one)
    })
  }

  /** A guess at what the model would have to read if this were sent, in tokens. */
  tokensAbout(): number {
    const said = this.path.value.flatMap(({ parts }) => parts.map((part) => ('text' in part ? part.text : '')))
    const added = this.attachments.value.map(({ text }) => text)
    return [this.#settings.value?.system ?? '', ...said, ...added, this.draft.value].reduce(
      (sum, text) => sum + tokensAbout(text),
      0,
    )
  }

  /** Edits the last message of the user. @returns false when there is none. */
  editLast(): boolean {
    const last = this.path.peek().findLast(({ role }) => role === 'user')
    if (last) this.editing.value = last.id
    return last !== undefined
  }

  /** What the model said last; empty when it said nothing yet. */
  lastAnswer(): string {
    const last = this.path.peek().findLast(({ role }) => role === 'assistant')
    return last ? saidBy(last.parts) : ''
  }

  /** Sends what is typed. */
  async sendDraft(): Promise<void> {
    const text = this.draft.peek().trim()
    const attachments = this.attachments.peek()
    batch(() => {
      this.draft.value = ''
      this.attachments.value = []
      this.refused.value = []
    })
    try {
      await this.send(text, attachments)
    } catch (thrown) {
      // what was written must not be lost with what failed
      batch(() => {
        if (this.draft.peek() === '') this.draft.value = text
        this.attachments.value = attachments
      })
      throw thrown
    }
    this.keepDraft()
  }

  /** Writes a message at the end of the branch that shows, and asks for its answer. */
  async send(text: string, attachments: readonly Attachment[] = []): Promise<void> {
    await this.#begin(titleOf(text, attachments[0]?.name))
    await this.#sendBehind(this.path.peek().at(-1)?.id, text, attachments)
  }

  /** Another version of a user's message: the old one stays as a branch. Files that it had stay with it. */
  async edit(id: string, text: string): Promise<void> {
    const message = this.#tree.peek().get(id)
    if (!message) return
    const files = message.parts.flatMap((part) => (part.type === 'file' ? [part] : []))
    await this.#sendBehind(message.parentId, text, files)
  }

  /** Another answer to the same message. */
  async regenerate(id: string, model?: string): Promise<void> {
    const parentId = this.#tree.peek().get(id)?.parentId
    if (parentId === undefined) return
    await this.#nameModel()
    const { answers } = this.#ports
    await this.#select(await answers.ask(this.id, parentId, model === undefined ? {} : { model }))
  }

  /** Goes on with an answer that was cut off or stopped. */
  async goOn(id: string): Promise<void> {
    await this.#select(await this.#ports.answers.goOn(id))
  }

  async retry(id: string): Promise<void> {
    await this.#select(await this.#ports.answers.retry(id))
  }

  async set(settings: Partial<ChatSettings>): Promise<void> {
    const before = this.#settings.peek()
    if (!before) return
    this.#settings.value = { ...before, ...settings }
    if (this.#state.peek() !== 'new') await this.#ports.store.setChat(this.id, settings)
  }

  type(text: string): void {
    this.draft.value = text
    this.#stopDraft?.()
    this.#stopDraft = this.#ports.clock.after(DRAFT_MS, () => this.keepDraft())
  }

  /** Looks at a message that a search has found, wherever in the tree it is. */
  async reveal(messageId: string): Promise<void> {
    this.wanted.value = messageId
    const messages = await this.#ports.store.messages(this.id)
    const leaf = new MessageTree(messages).leafOf(messageId)
    if (leaf !== undefined && messages.some(({ id }) => id === messageId)) await this.#select(leaf)
  }

  async #sendBehind(parentId: string | undefined, text: string, attachments: readonly Attachment[]): Promise<void> {
    await this.#nameModel()
    const extra = attachments.length === 0 ? {} : { attachments }
    const { answerId } = await this.#ports.answers.send(this.id, parentId, text, extra)
    await this.#select(answerId)
  }

  /** Keeps a new chat, once there is something to keep. */
  async #begin(title: string): Promise<void> {
    if (this.#state.peek() !== 'new') return
    const { store, go } = this.#ports
    const settings = this.#settings.peek()!
    await store.createChat({ ...settings, model: this.#modelOf(settings) ?? '', title }, this.id)
    await store.setDraft('', '')
    this.#state.value = 'open'
    this.#watch()
    go(`/chat/${this.id}`, { replace: true })
  }

  /** A chat that names no model (an import, or one begun offline) gets the one that the page would choose. */
  async #nameModel(): Promise<void> {
    const settings = this.#settings.peek()
    if (!settings || settings.model !== '') return
    const model = this.#modelOf(settings)
    if (model !== undefined) await this.set({ model })
  }

  async #select(leaf: string): Promise<void> {
    this.#selected.value = leaf
    this.#remember(leaf)
    await this.#ports.store.select(this.id, leaf)
  }

  #remember(leaf: string): void {
    const path = this.#tree.peek().pathTo(leaf)
    for (const [index, { id }] of path.entries()) {
      const next = path[index + 1]
      if (next) this.#lastChild.set(id, next.id)
    }
  }

  #watch(): void {
    const { store } = this.#ports
    this.#ends.push(
      store.watchChat(this.id, (chat) => this.#onChat(chat)),
      store.watchMessages(this.id, (messages) => {
        this.#messages.value = keepSame(this.#messages.peek(), messages)
      }),
      store.watchSelection(this.id, (leaf) => {
        if (leaf !== undefined) this.#selected.value = leaf
      }),
    )
  }

  #onChat(chat: Chat | undefined): void {
    batch(() => {
      this.#state.value = chat ? 'open' : 'gone'
      this.#settings.value = chat
    })
  }

  async #loadDraft(): Promise<void> {
    const left = leftDraft(this.#ports.kept.get(LEFT), this.#draftId())
    const text = left ?? (await this.#ports.store.draft(this.#draftId()))
    if (text !== '' && this.draft.peek() === '') this.draft.value = text
    if (left === undefined) return
    this.#ports.kept.set(LEFT, undefined)
    this.keepDraft()
  }

  /** The page may be left for good: what is typed is kept where that needs no time, and put into its place when it is opened. */
  leave(): void {
    if (this.#stopDraft) this.#ports.kept.set(LEFT, JSON.stringify([this.#draftId(), this.draft.peek()]))
    this.keepDraft()
  }

  /** Writes the draft now. */
  keepDraft(): void {
    this.#stopDraft?.()
    this.#stopDraft = undefined
    if (this.#state.peek() === 'gone') return
    // a draft that cannot be kept costs nobody a word that is on the screen
    this.#ports.store.setDraft(this.#draftId(), this.draft.peek()).catch(() => undefined)
  }

  #draftId(): string {
    return this.#state.peek() === 'new' ? '' : this.id
  }
}

/** Rows that are final and were there before stay the same objects: what shows them need not look at them again. */
function keepSame(before: readonly MessageRow[], now: readonly MessageRow[]): readonly MessageRow[] {
  const known = new Map(before.map((message) => [message.id, message]))
  return now.map((message) => {
    const old = known.get(message.id)
    const isSame = old?.status === message.status && old.hlc === message.hlc && !isOpen(message)
    return isSame ? old : message
  })
}

/** What was typed in this chat when the page was left, which anybody may have written. */
function leftDraft(json: string | undefined, id: string): string | undefined {
  try {
    const [chat, text] = JSON.parse(json ?? '[]') as [unknown, unknown]
    return chat === id && typeof text === 'string' ? text : undefined
  } catch {
    return undefined
  }
}
