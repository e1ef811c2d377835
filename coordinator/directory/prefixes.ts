/** Which beginnings of prompts nodes likely hold: remembered from what ran there, since nodes do not tell. */
import type { ModelDigest } from '../../mesh/protocol/index.ts'
import { commonBytes, type PromptPrefix } from '../scheduler/index.ts'

/** Prompts that the index of a mesh remembers, about 200 bytes each. */
const INDEXED_MAX = 16_384

/** Of one model on one node: a slot keeps the state of the last prompt that it decoded. */
export class PrefixCache {
  /** The newest last. */
  #held: PromptPrefix[] = []

  /** At most `slots` are kept; one that `prefix` goes on from is replaced, since its slot went on. */
  remember(prefix: PromptPrefix, slots: number): void {
    if (prefix.hashes.length === 0) return
    const held = this.#held.filter((each) => commonBytes(each, prefix) !== each.ends.at(-1))
    held.push(prefix)
    this.#held = held.slice(-slots)
  }

  /** Bytes from the start of `prefix` that one of the newest `slots` has. */
  cachedBytes(prefix: PromptPrefix, slots: number): number {
    let longest = 0
    for (let i = Math.max(0, this.#held.length - slots); i < this.#held.length; i++)
      longest = Math.max(longest, commonBytes(this.#held[i]!, prefix))
    return longest
  }

  clear(): void {
    this.#held = []
  }
}

/** Of the whole mesh: who ran a prompt last. Where a mesh is too large to look at every node, its node is not missed. */
export class PrefixIndex<T> {
  /** By model and last hash; the least recently remembered first. */
  readonly #owners = new Map<string, T>()

  remember(digest: ModelDigest, prefix: PromptPrefix, owner: T): void {
    const hash = prefix.hashes.at(-1)
    if (hash === undefined) return
    const key = `${digest} ${hash}`
    this.#owners.delete(key)
    this.#owners.set(key, owner)
    if (this.#owners.size > INDEXED_MAX) this.#owners.delete(this.#owners.keys().next().value!)
  }

  /** Of whoever ran a whole prompt that `prefix` goes on from, the one that ran the longest. */
  find(digest: ModelDigest, prefix: PromptPrefix): T | undefined {
    for (let i = prefix.hashes.length - 1; i >= 0; i--) {
      const owner = this.#owners.get(`${digest} ${prefix.hashes[i]}`)
      if (owner !== undefined) return owner
    }
    return undefined
  }
}
