/** Operations as several devices make them, few enough chats and messages that they meet. */
import fc from 'fast-check'
import type { SETTING_NAMES } from '../../../../clients/web/store/check.ts'
import { nextStamp, NEVER } from '../../../../clients/web/store/clock.ts'
import type { Op } from '../../../../clients/web/store/fold.ts'
import type { Stamp } from '../../../../clients/web/store/types.ts'

const DEVICES = ['a', 'b', 'c'].map((letter) => letter.repeat(16))
const chatId = fc.constantFrom('c1', 'c2', 'c3')
const messageId = fc.constantFrom('m1', 'm2', 'm3', 'm4', 'm5')

/** Clocks jump: back to 1970, on to the end of time. */
const stamp: fc.Arbitrary<Stamp> = fc
  .tuple(
    fc.oneof(
      fc.nat(6),
      fc.constantFrom(0, 253_402_300_799_999, 1_700_000_000_000),
      fc.integer({ min: 1_700_000_000_000, max: 1_700_000_000_020 }),
    ),
    fc.constantFrom(...DEVICES),
    fc.nat(3),
  )
  .map(([ms, device, times]) => {
    let at = nextStamp(NEVER, ms, device)
    for (let i = 0; i < times; i++) at = nextStamp(at, ms, device)
    return at
  })

const value = {
  title: fc.constantFrom('', 'one', 'two'),
  folder: fc.constantFrom('', 'home'),
  pinned: fc.boolean(),
  model: fc.constantFrom('', 'skein-tiny'),
  system: fc.constantFrom('', 'Be short.'),
  sampling: fc.constantFrom({}, { temperature: 1 }, { seed: 3, topP: 0.5 }),
  localOnly: fc.boolean(),
  devices: fc.constantFrom('none', 'read', 'act'),
  created: fc.nat(1000),
} satisfies Record<(typeof SETTING_NAMES)[number] | 'created', fc.Arbitrary<unknown>>

const set: fc.Arbitrary<Op> = fc
  .constantFrom(...(Object.keys(value) as (keyof typeof value)[]))
  .chain((field) =>
    fc
      .tuple(chatId, value[field] as fc.Arbitrary<unknown>, stamp)
      .map(([chat, of, at]): Op => ({ kind: 'set', chatId: chat, field, value: of, at })),
  )

const message: fc.Arbitrary<Op> = fc
  .tuple(messageId, chatId, fc.option(messageId, { nil: undefined }), fc.constantFrom('x', 'y'), fc.nat(9), stamp)
  .map(([id, chat, parent, text, createdAtMs, hlc]) => ({
    kind: 'message',
    row: {
      ...{ id, chatId: chat, parentId: parent === id ? undefined : parent, role: 'user', status: 'done' },
      ...{ parts: [{ type: 'text', text: `${text} ${id}` }], createdAtMs, hlc },
    },
  }))

const gone: fc.Arbitrary<Op> = fc
  .tuple(fc.oneof(chatId, messageId), stamp)
  .map(([id, at]) => ({ kind: 'gone', id, at }))

export const anyOp: fc.Arbitrary<Op> = fc.oneof(
  { arbitrary: set, weight: 4 },
  { arbitrary: message, weight: 6 },
  { arbitrary: gone, weight: 1 },
)
export const anyOps = fc.array(anyOp, { maxLength: 24 })
