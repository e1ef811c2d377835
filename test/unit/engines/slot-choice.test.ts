import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { chooseSlot, type SlotView } from '../../../node/engines/llama/slot-choice.ts'

const slot = (overrides: Partial<SlotView> = {}): SlotView => ({
  isFree: true,
  held: 0,
  shared: 0,
  lastUsed: 0,
  ...overrides,
})
const busy = slot({ isFree: false, held: 500, lastUsed: 9 })

describe('the choice of a sequence', () => {
  it('goes to the one that holds most of the beginning', () => {
    const slots = [slot(), slot({ held: 200, shared: 40, lastUsed: 1 }), slot({ held: 900, shared: 300, lastUsed: 2 })]
    expect(chooseSlot(slots, 400)).toBe(2)
  })

  it('goes to the one used longest ago where none shares enough', () => {
    const slots = [8, 5, 7, 6].map((lastUsed) => slot({ held: 1000, shared: 3, lastUsed }))
    expect(chooseSlot(slots, 1000)).toBe(1)
    expect(chooseSlot(slots.with(1, busy), 1000)).toBe(3)
  })

  it('takes one that was never used before any other', () => {
    expect(chooseSlot([slot({ held: 30, lastUsed: 1 }), slot({ held: 30, lastUsed: 2 }), slot()], 30)).toBe(2)
  })

  it('leaves a long conversation alone while an emptier sequence is free, however long ago it was used', () => {
    const long = slot({ held: 3000, shared: 0, lastUsed: 1 })
    expect(chooseSlot([long, slot({ held: 60, lastUsed: 2 })], 20)).toBe(1)
    expect(chooseSlot([long, slot({ held: 900, lastUsed: 2 })], 20)).toBe(1)
    // a request as long as what it takes the place of is no short one
    expect(chooseSlot([long, slot({ held: 900, lastUsed: 2 })], 3000)).toBe(0)
    expect(chooseSlot([long, busy], 20)).toBe(0)
  })

  it('does not lose a conversation over the few words that all of them begin with', () => {
    const conversation = slot({ held: 2000, shared: 40, lastUsed: 3 })
    expect(chooseSlot([conversation, slot()], 120)).toBe(1)
    expect(chooseSlot([conversation, slot({ held: 60, shared: 38, lastUsed: 2 })], 120)).toBe(1)
    // most of it is shared: an edited last message
    expect(chooseSlot([slot({ held: 2000, shared: 1500, lastUsed: 3 }), slot()], 1600)).toBe(0)
  })

  it('keeps those at work side by side where little is lost by it', () => {
    const little = [busy, slot({ held: 80, lastUsed: 8 }), slot({ held: 80, lastUsed: 1 }), slot({ lastUsed: 0 })]
    expect(chooseSlot(little, 90)).toBe(1)
    const much = [busy, slot({ held: 800, lastUsed: 8 }), slot({ held: 800, lastUsed: 1 })]
    expect(chooseSlot(much, 900)).toBe(2)
  })

  it('takes a free one whenever there is one, and none otherwise', () => {
    const view = fc.record({
      isFree: fc.boolean(),
      held: fc.nat(4000),
      shared: fc.nat(4000),
      lastUsed: fc.nat(100),
    })
    fc.assert(
      fc.property(fc.array(view, { maxLength: 12 }), fc.integer({ min: 1, max: 8000 }), (views, inputTokens) => {
        const slots = views.map((each) => ({ ...each, shared: Math.min(each.shared, each.held, inputTokens - 1) }))
        const chosen = chooseSlot(slots, inputTokens)
        if (slots.some(({ isFree }) => isFree)) expect(slots[chosen!]!.isFree).toBe(true)
        else expect(chosen).toBeUndefined()
      }),
    )
  })
})
