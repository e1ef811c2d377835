/** Devices that have seen the same operations hold the same, whatever came first, twice or late. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isStamp, msOf, nextStamp, NEVER } from '../../../../clients/web/store/clock.ts'
import { apply, fold, opOf, type Folded, type Op } from '../../../../clients/web/store/fold.ts'
import { anyOp, anyOps } from './arbitraries.ts'
import { opened } from './fixtures.ts'

const held = (folded: Folded): unknown => [...folded].sort(([a], [b]) => (a < b ? -1 : 1))
const shuffled = <T>(all: readonly T[], order: readonly number[]): T[] =>
  all
    .map((each, i) => [order[i] ?? 0, each] as const)
    .sort(([a], [b]) => a - b)
    .map(([, each]) => each)

describe('the fold', () => {
  test('commutes: any order gives the same', () => {
    fc.assert(
      fc.property(anyOps, fc.array(fc.nat()), (ops, order) => {
        expect(held(fold(shuffled(ops, order)))).toEqual(held(fold(ops)))
      }),
    )
  })

  test('is idempotent: what comes twice changes nothing', () => {
    fc.assert(
      fc.property(anyOps, anyOp, (ops, op) => {
        const once = apply(fold(ops), op)
        expect(held(apply(once, op))).toEqual(held(once))
        expect(held(fold([...ops, ...ops]))).toEqual(held(fold(ops)))
      }),
    )
  })

  test('associates: what others have folded is as good as what they folded', () => {
    fc.assert(
      fc.property(anyOps, anyOps, anyOps, (a, b, c) => {
        const right = fold([...fold([...b, ...c]).values()], fold(a))
        const left = fold(c, fold([...fold([...a, ...b]).values()]))
        expect(held(left)).toEqual(held(right))
      }),
    )
  })

  test('what is gone never comes back', () => {
    fc.assert(
      fc.property(anyOps, anyOps, (ops, more) => {
        const folded = fold([...ops, { kind: 'gone', id: 'c1', at: NEVER }, ...more])
        expect([...folded.values()].some((op) => op.kind === 'message' && op.row.chatId === 'c1')).toBe(false)
        expect([...folded.keys()].some((key) => key.startsWith('s:c1:'))).toBe(false)
      }),
    )
  })

  test('every operation survives its journey, and nothing else is one', () => {
    fc.assert(
      fc.property(anyOp, (op) => {
        expect(opOf(JSON.parse(JSON.stringify(op)))).toEqual(op)
      }),
    )
    fc.assert(
      fc.property(fc.anything(), (value) => {
        expect(opOf(value)).toBeUndefined()
      }),
    )
    expect(opOf({ kind: 'message', row: null })).toBeUndefined()
    expect(opOf({ kind: 'set', chatId: 'c', field: '__proto__', value: 1, at: NEVER })).toBeUndefined()
  })
})

/** Of a property over many databases, on busy cores. */
const PATIENCE_MS = 90_000

describe('the tables', () => {
  test(
    'hold what the fold says, in whatever pieces and order it comes',
    async () => {
      await fc.assert(
        fc.asyncProperty(anyOps, fc.array(fc.nat()), fc.integer({ min: 1, max: 9 }), async (ops, order, size) => {
          const { store } = await opened()
          const mixed = shuffled([...ops, ...ops.slice(0, 5)], order)
          for (let i = 0; i < mixed.length; i += size) await store.receive(mixed.slice(i, i + size))
          const { db } = store
          const kept: Folded = new Map<string, Op>([
            ...(await db.messages.toArray()).map(
              (row) => [`m:${row.chatId}:${row.id}`, { kind: 'message', row }] as const,
            ),
            ...(await db.registers.toArray()).map(
              (each) => [`s:${each.chatId}:${each.field}`, { kind: 'set', ...each }] as const,
            ),
            ...(await db.gone.toArray()).map((each) => [`g:${each.id}`, { kind: 'gone', ...each }] as const),
          ])
          const expected = fold(ops)
          expect(held(kept)).toEqual(held(expected))
          // a chat is listed when something of it is known beside its messages
          const listed = new Set([...expected.values()].flatMap((op) => (op.kind === 'set' ? [op.chatId] : [])))
          expect(new Set((await store.chats()).map(({ id }) => id))).toEqual(listed)
          // a local write after all this wins, whatever the clocks of the others said
          const [chat] = await store.chats()
          if (chat !== undefined) {
            await store.setChat(chat.id, { title: 'the last word' })
            await store.receive(ops)
            expect((await store.chat(chat.id))?.title).toBe('the last word')
          }
          store.close()
        }),
        { numRuns: 60 },
      )
    },
    PATIENCE_MS,
  )
})

describe('time', () => {
  test('goes on, whatever the clock does', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.integer(), fc.constantFrom(NaN, Infinity, -1, 253_402_300_799_998)), { minLength: 1 }),
        (walls) => {
          let last = NEVER
          for (const wall of walls) {
            const next = nextStamp(last, Number.isFinite(wall) ? wall : 0, 'f'.repeat(16))
            expect(isStamp(next)).toBe(true)
            expect(next > last).toBe(true)
            last = next
          }
        },
      ),
    )
  })

  test('names the wall time of its device, and refuses what is behind its end', () => {
    const at = nextStamp(NEVER, 1_700_000_000_123, '0123456789abcdef')
    expect(msOf(at)).toBe(1_700_000_000_123)
    expect(isStamp('ffffffffffff-0000-0123456789abcdef')).toBe(false)
    expect(isStamp(`${at} `)).toBe(false)
  })
})
