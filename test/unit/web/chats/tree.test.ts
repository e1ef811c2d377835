import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { MessageTree } from '../../../../clients/web/chats/tree.ts'

const ids = (messages: readonly { readonly id: string }[]): string[] => messages.map(({ id }) => id)
const at = (id: string, parentId?: string) => ({ id, parentId })

test('a branch shows from its first message to its end', () => {
  const tree = new MessageTree([at('u1'), at('a1', 'u1'), at('u2', 'a1'), at('a2', 'u2'), at('a2b', 'u2')])
  expect(ids(tree.pathTo('a2b'))).toEqual(['u1', 'a1', 'u2', 'a2b'])
  expect(ids(tree.pathTo('gone'))).toEqual([])
  expect(ids(tree.pathTo(undefined))).toEqual([])
  expect(tree.leafOf()).toBe('a2b')
  expect(tree.leafOf('u1')).toBe('a2b')
  expect(tree.leafOf('a2')).toBe('a2')
  expect(ids(tree.versionsOf('a2'))).toEqual(['a2', 'a2b'])
  expect(ids(tree.versionsOf('u1'))).toEqual(['u1'])
})

test('an edit of the first message is another beginning of the chat', () => {
  const tree = new MessageTree([at('u1'), at('a1', 'u1'), at('u1b'), at('a1b', 'u1b')])
  expect(ids(tree.versionsOf('u1'))).toEqual(['u1', 'u1b'])
  expect(tree.leafOf()).toBe('a1b')
  expect(tree.leafOf('u1')).toBe('a1')
})

test('a message whose parent was not told of yet shows all the same', () => {
  const tree = new MessageTree([at('a1', 'missing')])
  expect(ids(tree.pathTo(tree.leafOf()))).toEqual(['a1'])
})

test('whatever rows there are, every path ends and is a path', () => {
  const id = fc.constantFrom('a', 'b', 'c', 'd', 'e')
  const rows = fc.array(fc.record({ id, parentId: fc.option(id, { nil: undefined }) }), { maxLength: 12 })
  fc.assert(
    fc.property(rows, id, (messages, start) => {
      const tree = new MessageTree(messages)
      const path = tree.pathTo(tree.get(start) ? tree.leafOf(start) : tree.leafOf())
      expect(new Set(ids(path)).size).toBe(path.length)
      for (let i = 1; i < path.length; i++) expect(path[i]!.parentId).toBe(path[i - 1]!.id)
      if (tree.get(start)) expect(ids(tree.versionsOf(start))).toContain(start)
    }),
  )
})
