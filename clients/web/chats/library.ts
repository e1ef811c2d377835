/** All chats of the device as the list shows them, what a search finds, and what is deleted unless somebody takes it back. */
import { computed, signal, type ReadonlySignal } from '@preact/signals'
import type { ChatRow, ChatSettings, SearchHit } from '../store/index.ts'
import { foldersOf, groupRows, type Listed, type Row } from './groups.ts'
import type { ChatsPorts } from './ports.ts'

export interface ListedChat extends Listed {
  readonly model: string
  readonly isAnswering: boolean
}

/** Chats that are hidden and not deleted yet. */
export interface Deletion {
  readonly ids: ReadonlySet<string>
}

export interface Search {
  readonly query: string
  /** Undefined while it is looked for. */
  readonly hits: readonly SearchHit[] | undefined
}

/** For how long a deletion can be taken back, in ms. */
export const UNDO_MS = 8_000
const SEARCH_PAUSE_MS = 80
/** Places that a search shows. */
export const HITS_MAX = 60
const CLOSED = 'skein.chats.closed-folders'
/** Chats that are to be deleted unless that is taken back: a page that is left has no time to do it. */
const DELETING = 'skein.chats.deleting'
const MINUTE_MS = 60_000

export class Library {
  readonly #ports: ChatsPorts
  readonly #rows = signal<readonly ChatRow[]>()
  readonly #deletion = signal<Deletion>()
  readonly #search = signal<Search>()
  readonly #closed: ReturnType<typeof signal<ReadonlySet<string>>>
  /** Of the last look at the clock: days turn over while the page is open. */
  readonly #nowMs = signal(0)
  readonly #ends: (() => void)[] = []
  #stopDeletion: (() => void) | undefined
  #stopSearch: (() => void) | undefined
  #abortSearch: AbortController | undefined

  readonly chats: ReadonlySignal<readonly ListedChat[] | undefined>
  readonly rows: ReadonlySignal<readonly Row<ListedChat>[]>
  readonly folders: ReadonlySignal<readonly string[]>

  constructor(ports: ChatsPorts) {
    this.#ports = ports
    this.#closed = signal<ReadonlySet<string>>(new Set(namesOf(ports.kept.get(CLOSED))))
    this.#nowMs.value = ports.clock.nowMs()
    this.chats = computed(() => this.#listed())
    this.rows = computed(() =>
      groupRows(this.chats.value ?? [], { nowMs: this.#nowMs.value, closed: this.#closed.value! }),
    )
    this.folders = computed(() => foldersOf(this.chats.value ?? []))
    this.#ends.push(
      ports.store.watchChats((rows) => {
        this.#rows.value = rows
      }),
    )
    this.#tick()
    this.#takeUp()
  }

  get deletion(): ReadonlySignal<Deletion | undefined> {
    return this.#deletion
  }

  get search(): ReadonlySignal<Search | undefined> {
    return this.#search
  }

  /** Lets go of all; what was to be deleted is. */
  close(): void {
    this.#stopSearch?.()
    this.#abortSearch?.abort()
    void this.deleteNow()
    for (const end of this.#ends.splice(0)) end()
  }

  set(id: string, settings: Partial<ChatSettings>): Promise<void> {
    return this.#ports.store.setChat(id, settings)
  }

  toggleFolder(name: string): void {
    const closed = new Set(this.#closed.peek())
    if (!closed.delete(name)) closed.add(name)
    this.#closed.value = closed
    this.#ports.kept.set(CLOSED, JSON.stringify([...closed]))
  }

  /** Hides a chat, and deletes it unless it is taken back in time. */
  async remove(id: string): Promise<void> {
    await this.deleteNow()
    this.#ports.kept.set(DELETING, JSON.stringify([id]))
    this.#hide([id])
  }

  undoDelete(): void {
    this.#stopDeletion?.()
    this.#ports.kept.set(DELETING, undefined)
    this.#deletion.value = undefined
  }

  /** Does what was only hidden so far: when the time is over, or the page is left. */
  async deleteNow(): Promise<void> {
    const deletion = this.#deletion.peek()
    if (!deletion) return
    this.#stopDeletion?.()
    await this.#ports.store.deleteChats([...deletion.ids])
    if (this.#deletion.peek() !== deletion) return
    this.#deletion.value = undefined
    this.#ports.kept.set(DELETING, undefined)
  }

  #hide(ids: readonly string[]): void {
    this.#deletion.value = { ids: new Set(ids) }
    this.#stopDeletion = this.#ports.clock.after(UNDO_MS, () => void this.deleteNow())
  }

  /** What was to be deleted when a page was left is hidden here too, and deleted unless the other page takes it back. */
  #takeUp(): void {
    const ids = namesOf(this.#ports.kept.get(DELETING))
    if (ids.length === 0) return
    this.#deletion.value = { ids: new Set(ids) }
    this.#stopDeletion = this.#ports.clock.after(UNDO_MS, () => {
      if (namesOf(this.#ports.kept.get(DELETING)).join() === ids.join()) void this.deleteNow()
      else this.#deletion.value = undefined
    })
  }

  /** Looks for what is typed, a moment after the last key. */
  find(query: string): void {
    this.#stopSearch?.()
    this.#abortSearch?.abort()
    if (query.trim() === '') {
      this.#search.value = undefined
      return
    }
    // hits of what was typed before stay until there are new ones: a list that empties at each key cannot be read
    this.#search.value = { query, hits: this.#search.peek()?.hits }
    this.#stopSearch = this.#ports.clock.after(SEARCH_PAUSE_MS, () => void this.#look(query))
  }

  async #look(query: string): Promise<void> {
    const abort = new AbortController()
    this.#abortSearch = abort
    try {
      const hits = await this.#ports.store.search(query, { limit: HITS_MAX, signal: abort.signal })
      if (!abort.signal.aborted) this.#search.value = { query, hits }
    } catch (thrown) {
      if (abort.signal.aborted) return
      this.#search.value = { query, hits: [] }
      throw thrown
    }
  }

  #listed(): readonly ListedChat[] | undefined {
    const hidden = this.#deletion.value?.ids
    const answering = new Set([...this.#ports.answers.running.value.values()].map(({ chatId }) => chatId))
    return this.#rows.value
      ?.filter(({ id }) => !hidden?.has(id))
      .map(({ id, title, folder, pinned, model, updatedAtMs }) => ({
        ...{ id, title, folder, model, updatedAtMs },
        isPinned: pinned,
        isAnswering: answering.has(id),
      }))
  }

  #tick(): void {
    this.#nowMs.value = this.#ports.clock.nowMs()
    const stop = this.#ports.clock.after(MINUTE_MS, () => this.#tick())
    this.#ends[1] = stop
  }
}

/** What this device has kept, which anybody may have written. */
function namesOf(json: string | undefined): string[] {
  try {
    const names = JSON.parse(json ?? '[]') as unknown
    return Array.isArray(names) ? names.filter((name): name is string => typeof name === 'string') : []
  } catch {
    return []
  }
}
