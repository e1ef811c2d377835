/** A chat as a tree: what is shown of it is a path from its start to a leaf. */
import type { MessageRow } from './types.ts'

/** What is needed of a message. */
export type Node = Pick<MessageRow, 'id' | 'parentId' | 'createdAtMs'>

const inOrder = (a: Node, b: Node): number => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1)

/** Children by the id of their parent, in the order of their making; those whose parent is not there begin the chat. */
export function childrenOf<T extends Node>(messages: readonly T[]): ReadonlyMap<string | undefined, readonly T[]> {
  const known = new Set(messages.map(({ id }) => id))
  const children = new Map<string | undefined, T[]>()
  for (const message of messages.toSorted(inOrder)) {
    const { parentId } = message
    const under = parentId !== undefined && known.has(parentId) ? parentId : undefined
    const siblings = children.get(under)
    if (siblings === undefined) children.set(under, [message])
    else siblings.push(message)
  }
  return children
}

/** From the start of the chat to `leafId`; rings, which only a foreign hand can make, end it. */
export function pathTo<T extends Node>(messages: readonly T[], leafId: string, depthMax: number): T[] {
  const byId = new Map(messages.map((message) => [message.id, message]))
  const path: T[] = []
  const seen = new Set<string>()
  let at = byId.get(leafId)
  while (at !== undefined && !seen.has(at.id) && path.length < depthMax) {
    seen.add(at.id)
    path.push(at)
    at = at.parentId === undefined ? undefined : byId.get(at.parentId)
  }
  return path.reverse()
}

/** The ids of `id` and of all that follows on it. */
export function subtreeOf(messages: readonly Node[], id: string): string[] {
  const children = childrenOf(messages)
  const found = new Set([id])
  // a set grows while it is walked
  for (const each of found) for (const child of children.get(each) ?? []) found.add(child.id)
  return [...found]
}

/** The leaf that is reached by taking the newest child at each fork, from `fromId` or from the newest start. */
export function newestLeaf(messages: readonly Node[], fromId?: string): string | undefined {
  const children = childrenOf(messages)
  const seen = new Set<string>()
  let at = fromId ?? children.get(undefined)?.at(-1)?.id
  while (at !== undefined && !seen.has(at)) {
    seen.add(at)
    const next = children.get(at)?.at(-1)?.id
    if (next === undefined) return at
    at = next
  }
  return at
}
