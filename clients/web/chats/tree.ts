/** The messages of a chat as a tree: which branch shows, and what stands beside each message of it. */

/** What is needed of a message. */
export interface Branching {
  readonly id: string
  readonly parentId: string | undefined
}

/** Messages under what they follow, those of one parent in the order in which they were made. */
export class MessageTree<T extends Branching> {
  readonly #byId: ReadonlyMap<string, T>
  readonly #children: ReadonlyMap<string | undefined, readonly T[]>

  /** `messages` in the order in which they were made. One whose parent is not there begins a branch of its own. */
  constructor(messages: readonly T[]) {
    this.#byId = new Map(messages.map((message) => [message.id, message]))
    const children = new Map<string | undefined, T[]>()
    for (const message of this.#byId.values()) {
      const parent = this.#parentOf(message)
      const beside = children.get(parent)
      if (beside) beside.push(message)
      else children.set(parent, [message])
    }
    this.#children = children
  }

  get(id: string): T | undefined {
    return this.#byId.get(id)
  }

  /** From the first message to `leafId`; empty when it is not there. */
  pathTo(leafId: string | undefined): T[] {
    const path: T[] = []
    const seen = new Set<string>()
    let message = leafId === undefined ? undefined : this.#byId.get(leafId)
    // what comes from other devices may go in a circle
    while (message && !seen.has(message.id)) {
      seen.add(message.id)
      path.push(message)
      const parent = this.#parentOf(message)
      message = parent === undefined ? undefined : this.#byId.get(parent)
    }
    return path.reverse()
  }

  /** The end of the branch through `id` (of the chat when absent): where it parts, `preferred` by the parent, else the newest. */
  leafOf(id?: string, preferred?: ReadonlyMap<string, string>): string | undefined {
    const seen = new Set<string>()
    let leaf = id
    for (;;) {
      const children = this.#children.get(leaf)
      const wish = leaf === undefined ? undefined : preferred?.get(leaf)
      const next = children?.find(({ id: child }) => child === wish) ?? children?.at(-1)
      if (!next || seen.has(next.id)) return leaf
      seen.add(next.id)
      leaf = next.id
    }
  }

  /** The message and the other versions of it, in their order. */
  versionsOf(id: string): readonly T[] {
    const message = this.#byId.get(id)
    return message ? (this.#children.get(this.#parentOf(message)) ?? [message]) : []
  }

  #parentOf({ id, parentId }: T): string | undefined {
    return parentId !== undefined && parentId !== id && this.#byId.has(parentId) ? parentId : undefined
  }
}
