import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  ThoughtScanner,
  ThoughtSplitter,
  thoughtMarks,
  type Parted,
  type Prompt,
  type ThoughtMarks,
} from '../../../mesh/protocol/index.ts'

const MARKS: ThoughtMarks = { open: '<think>', close: '</think>', isOpen: false }
const OPEN: ThoughtMarks = { ...MARKS, isOpen: true }

function read(marks: ThoughtMarks, ...pieces: string[]): Parted {
  const splitter = new ThoughtSplitter(marks)
  const parts = [...pieces.map((piece) => splitter.push(piece)), splitter.end()]
  return { thought: parts.map(({ thought }) => thought).join(''), said: parts.map(({ said }) => said).join('') }
}

describe('a thought', () => {
  it.each<[string, string, string, string]>([
    ['in front of an answer', '<think>\nHm.\n\nYes.\n</think>\n\nHello!\n', 'Hm.\n\nYes.', 'Hello!\n'],
    ['behind white space', '\n <think>a</think>b', 'a', 'b'],
    ['that is empty', '<think>\n\n</think>\n\nHello', '', 'Hello'],
    ['without an answer', '<think>a</think>', 'a', ''],
    ['that is broken off', '<think>\nso', 'so', ''],
    ['that is broken off in its mark', '<think>so</thi', 'so</thi', ''],
    ['with the beginnings of its end', '<think>a < b </th </think>c', 'a < b </th', 'c'],
    ['whose opening is broken off', '<thin', '', '<thin'],
    ['that is none', 'I <think> so</think>', '', 'I <think> so</think>'],
    ['that follows another', '<think>a</think>b<think>c</think>', 'a', 'b<think>c</think>'],
  ])('%s', (_what, text, thought, said) => {
    expect(read(MARKS, text)).toEqual({ thought, said })
  })

  it.each<[string, string, string, string]>([
    ['opened in the prompt', '\nHm.\n</think>\n\nHello!', 'Hm.', 'Hello!'],
    ['opened twice', '<think>\nHm.</think>Hello!', 'Hm.', 'Hello!'],
    ['closed at once', '</think>Hello!', '', 'Hello!'],
    ['broken off at once', '<', '<', ''],
  ])('%s', (_what, text, thought, said) => {
    expect(read(OPEN, text)).toEqual({ thought, said })
  })

  it('is told as it comes, but for what may become a mark', () => {
    const splitter = new ThoughtSplitter(MARKS)
    expect(splitter.push('<thi')).toEqual({ thought: '', said: '' })
    expect(splitter.push('nk>\nwell ')).toEqual({ thought: 'well', said: '' })
    expect(splitter.push('then</thi')).toEqual({ thought: ' then', said: '' })
    expect(splitter.push('s> ok')).toEqual({ thought: '</this> ok', said: '' })
    expect(splitter.push('</think>')).toEqual({ thought: '', said: '' })
    expect(splitter.push('\n\n')).toEqual({ thought: '', said: '' })
    expect(splitter.push('Hi \n')).toEqual({ thought: '', said: 'Hi \n' })
  })

  it('is where a request says that it is', () => {
    const prompt: Prompt = { kind: 'chat', messages: [{ role: 'user', content: 'x' }] }
    const thinking = { open: '<think>', close: '</think>', opens: { unsaid: true, on: true, off: false } }
    expect(thoughtMarks(thinking, prompt)).toEqual(OPEN)
    expect(thoughtMarks(thinking, { ...prompt, thinking: { effort: 'low' } })).toEqual(OPEN)
    expect(thoughtMarks(thinking, { ...prompt, thinking: { isOn: false } })).toEqual(MARKS)
    expect(thoughtMarks(thinking, { kind: 'text', text: 'x' })).toBeUndefined()
    expect(thoughtMarks(undefined, prompt)).toBeUndefined()
  })
})

describe('however a text is cut', () => {
  const fragment = fc.oneof(
    fc.constantFrom('<think>', '</think>', '\n', ' ', '<', '</', '</thi', 'think>', 'é😀', ' '.repeat(70)),
    fc.string({ maxLength: 5 }),
  )
  const cut = fc.tuple(
    fc.array(fragment, { maxLength: 12 }),
    fc.array(fc.nat(200), { maxLength: 12 }),
    fc.constantFrom(MARKS, OPEN),
  )
  const piecesOf = (text: string, places: readonly number[]): string[] => {
    const borders = [0, ...places.map((at) => at % (text.length + 1)).toSorted((a, b) => a - b), text.length]
    return borders.slice(1).map((border, i) => text.slice(borders[i], border))
  }

  it('says the same', () => {
    fc.assert(
      fc.property(cut, ([fragments, places, marks]) => {
        const text = fragments.join('')
        expect(read(marks, ...piecesOf(text, places))).toEqual(read(marks, text))
      }),
      { numRuns: 1000 },
    )
  })

  it('loses nothing, and says where the closing mark ended', () => {
    fc.assert(
      fc.property(cut, ([fragments, places, marks]) => {
        const text = fragments.join('')
        const scanner = new ThoughtScanner(marks)
        let spans = ''
        let length = 0
        for (const piece of piecesOf(text, places)) {
          spans += scanner
            .push(piece)
            .map((span) => span.text)
            .join('')
          if (scanner.closedAt !== undefined)
            expect(text.slice(0, length + scanner.closedAt).endsWith('</think>')).toBe(true)
          length += piece.length
        }
        expect(spans + scanner.end().map((span) => span.text)).toBe(text)
      }),
      { numRuns: 1000 },
    )
  })
})
