import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { AnswerText, type Detokenize } from '../../../node/engines/answer-text.ts'

/** Tokens are bytes, the hardest case: every character of more than one byte is cut. */
const bytes: Detokenize = (ids) => Buffer.from(ids).toString('utf8')
const idsOf = (text: string): number[] => [...Buffer.from(text, 'utf8')]

interface Played {
  readonly parts: readonly string[]
  readonly text: string
  /** The stop string that ended it. */
  readonly stop: string | undefined
}

function play(ids: readonly number[], stop: readonly string[], detokenize = bytes): Played {
  const state = new AnswerText(detokenize, stop)
  const parts = ids.map((id) => state.push(id))
  const text = parts.join('') + state.end()
  return { parts, text, stop: state.stopIndex === undefined ? undefined : stop[state.stopIndex] }
}

const letters = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'é', '→', '😀', ' '), maxLength: 40 })
const stops = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'é', ' '), minLength: 1, maxLength: 4 }), {
  maxLength: 4,
})

/** The definition, without any streaming: the stop string that is complete first, and the text in front of it. */
function expected(text: string, stop: readonly string[]): Omit<Played, 'parts'> {
  for (let end = 1; end <= text.length; end++) {
    const found = stop.filter((one) => text.slice(0, end).endsWith(one)).sort((a, b) => b.length - a.length)[0]
    if (found !== undefined) return { text: text.slice(0, end - found.length), stop: found }
  }
  return { text, stop: undefined }
}

describe('AnswerText', () => {
  it('releases a character when its last byte has come', () => {
    expect(play(idsOf('aé→'), []).parts).toEqual(['a', '', 'é', '', '', '→'])
  })

  it('releases an unfinished character at the end, and keeps broken bytes in their place', () => {
    expect(play(idsOf('a→').slice(0, 3), []).text).toBe('a\uFFFD')
    expect(play([0x61, 0xff, 0x62], []).text).toBe('a\uFFFDb')
  })

  it('holds back what may become a stop string, across the borders of tokens', () => {
    expect(play(idsOf('xENy'), ['END']).parts).toEqual(['x', '', '', 'ENy'])
    expect(play(idsOf('xEND!'), ['END']).text).toBe('x')
  })

  it('takes the stop string that is complete first, of those that end together the longest', () => {
    expect(play(idsOf('xabcd'), ['bcd', 'abc']).text).toBe('x')
    expect(play(idsOf('xabc'), ['bc', 'abc']).text).toBe('x')
    expect(play(idsOf('xab'), ['abz', 'b']).text).toBe('xa')
  })

  it('releases the whole text when nothing stops it', () => {
    fc.assert(
      fc.property(letters, (text) => {
        expect(play(idsOf(text), []).text).toBe(text)
      }),
    )
  })

  it('releases what the definition says', () => {
    fc.assert(
      fc.property(letters, stops, (text, stop) => {
        expect(play(idsOf(text), stop)).toMatchObject(expected(text, stop))
      }),
    )
  })

  it('does not depend on how the text is cut into tokens', () => {
    const words = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'é'), minLength: 1, maxLength: 5 }), {
      maxLength: 12,
    })
    fc.assert(
      fc.property(words, stops, (pieces, stop) => {
        const byPiece = play([...pieces.keys()], stop, (ids) => ids.map((id) => pieces[id]).join(''))
        expect(byPiece).toMatchObject(expected(pieces.join(''), stop))
      }),
    )
  })

  it('is after a replay where it was before: the rest of the text is the same', () => {
    fc.assert(
      fc.property(letters, stops, fc.double({ min: 0, max: 1, noNaN: true }), (text, stop, share) => {
        const ids = idsOf(text)
        const position = Math.floor(share * ids.length)
        const whole = play(ids, stop)
        const replayed = new AnswerText(bytes, stop)
        const before = ids.slice(0, position).map((id) => replayed.push(id))
        const after = ids.slice(position).map((id) => replayed.push(id))
        expect(before.join('')).toBe(whole.parts.slice(0, position).join(''))
        expect(before.join('') + after.join('') + replayed.end()).toBe(whole.text)
      }),
    )
  })

  it('stays fast and loses nothing in a stream of broken bytes', () => {
    const lengths: number[] = []
    const state = new AnswerText((ids) => {
      lengths.push(ids.length)
      return bytes(ids)
    }, [])
    let text = ''
    for (let i = 0; i < 1000; i++) text += state.push(0x80)
    text += state.end()
    expect(text).toBe('\uFFFD'.repeat(1000))
    expect(Math.max(...lengths)).toBeLessThanOrEqual(128)
  })
})
