import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { graphemesOf } from '../../../firmware-bridge/asks/charset.ts'
import { Chunker } from '../../../firmware-bridge/asks/chunker.ts'
import { fits, messageTopic, WIRES, type Chunk, type Wire } from '../../../firmware-bridge/messages/index.ts'

const characters = fc.constantFrom('a', 'b', ' ', '"', '\n', '\\', 'é', '漢', '😀', '👩‍🌾', 'e\u0301', '🇩🇪')
const anyText = fc.oneof(
  fc.string({ unit: characters, maxLength: 600 }),
  fc.string({ unit: 'grapheme', maxLength: 200 }).map((text) => text.toWellFormed()),
)
const board = fc.record({
  wire: fc.constantFrom(...WIRES),
  rx: fc.integer({ min: 48, max: 1024 }),
  device: fc.constantFrom('u', 'greenhouse', 'a-long-name-of-23-chars'),
  id: fc.integer({ min: 0, max: 65_535 }),
  by: fc.constantFrom(undefined, 'desk-pc', 'n'.repeat(63)),
})

function chunkerFor({ wire, rx, device, id }: { wire: Wire; rx: number; device: string; id: number }): Chunker {
  const topic = messageTopic(device, 'down', 'chunk')
  return new Chunker(id, rx, (chunk) => fits(chunk, wire, rx, topic))
}

describe('the chunks of an answer', () => {
  it('fit the board as they are written, have whole characters and are the answer', () => {
    fc.assert(
      fc.property(anyText, board, (text, init) => {
        const chunker = chunkerFor(init)
        chunker.feed(text)
        chunker.end({ fin: 'stop', by: init.by })
        const { chunks } = chunker
        const topic = messageTopic(init.device, 'down', 'chunk')
        for (const chunk of chunks) expect(fits(chunk, init.wire, init.rx, topic)).toBe(true)
        for (const [i, chunk] of chunks.entries()) {
          expect(chunk.i).toBe(i)
          expect(chunk.t.isWellFormed()).toBe(true)
        }
        if (chunker.isStuck) {
          // only where a character and the envelope are too much
          const envelope = { kind: 'chunk', id: init.id, i: chunks.length, l: true, t: '👩‍🌾', fin: 'stop' } as const
          expect(fits(envelope, init.wire, init.rx, topic)).toBe(false)
          return
        }
        expect(chunker.isWhole).toBe(true)
        expect(chunks.map(({ t }) => t).join('')).toBe(text)
        expect(chunks.map(({ l }) => l)).toEqual(chunks.map((_, i) => i === chunks.length - 1))
        expect(chunks.at(-1)!.fin).toBe('stop')
      }),
      { numRuns: 400 },
    )
  })

  it('are as full as they can be', () => {
    const init = { wire: 'mqtt-json', rx: 128, device: 'uno', id: 7 } as const
    const chunker = chunkerFor(init)
    const text = 'The "vent"\nis open. '.repeat(40)
    chunker.feed(text)
    const topic = messageTopic('uno', 'down', 'chunk')
    expect(chunker.chunks.length).toBeGreaterThan(8)
    let at = 0
    for (const chunk of chunker.chunks) {
      at += chunk.t.length
      const longer = { ...chunk, t: chunk.t + [...graphemesOf(text.slice(at))][0]! }
      expect(fits(longer, 'mqtt-json', 128, topic)).toBe(false)
    }
  })

  it('are the same however the text comes', () => {
    fc.assert(
      fc.property(anyText, board, fc.infiniteStream(fc.integer({ min: 1, max: 40 })), (text, init, steps) => {
        const whole = chunkerFor(init)
        whole.feed(text)
        whole.end({ fin: 'length', by: init.by })
        const pieces = chunkerFor(init)
        const graphemes = [...graphemesOf(text)]
        for (let at = 0; at < graphemes.length;) {
          const step = steps.next().value
          pieces.feed(graphemes.slice(at, at + step).join(''))
          at += step
        }
        pieces.end({ fin: 'length', by: init.by })
        expect(pieces.chunks).toEqual(whole.chunks)
      }),
      { numRuns: 200 },
    )
  })

  it('name the node where there is room, and the end in any case', () => {
    const last = (text: string, by: string): Chunk => {
      const chunker = chunkerFor({ wire: 'frames', rx: 48, device: 'uno', id: 1 })
      chunker.feed(text)
      chunker.end({ fin: 'shaped', by })
      return chunker.chunks.at(-1)!
    }
    expect(last('open', 'desk')).toMatchObject({ t: 'open', by: 'desk', fin: 'shaped' })
    expect(last('open', 'x'.repeat(60))).not.toHaveProperty('by')
    expect(last('x'.repeat(38), 'desk')).toMatchObject({ l: true, fin: 'shaped' })
  })

  it('say that not one character fits', () => {
    const chunker = new Chunker(1, 20, (chunk) => chunk.t === '' && !chunk.l)
    chunker.feed('x')
    chunker.end({ fin: 'stop', by: undefined })
    expect(chunker.isStuck).toBe(true)
    expect(chunker.isWhole).toBe(false)
  })
})
