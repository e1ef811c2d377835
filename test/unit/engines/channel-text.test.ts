import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { answeredCalls, toolCallText, ToolCallParser } from '../../../mesh/protocol/index.ts'
import { AnswerText } from '../../../node/engines/answer-text.ts'
import { CHANNEL_TOKENS, ChannelText, HeaderText } from '../../../node/engines/channel-text.ts'

function written(...pieces: string[]): string {
  const text = new ChannelText()
  return pieces.map((piece) => text.push(piece)).join('') + text.end()
}
const GIVEN = '{"s": "<|end|>}\\"{", "n": [1.0]}'
const CALLED = toolCallText({ name: 'a.b', arguments: GIVEN })
const message = (channel: string, text: string): string => `<|channel|>${channel}<|message|>${text}`
const NEXT = '<|end|><|start|>assistant'

describe('an answer in channels', () => {
  it.each<[string, string, string]>([
    [
      'a thought and a text',
      message('analysis', 'Hm.') + NEXT + message('final', 'It is.'),
      '<think>\nHm.\n</think>\n\nIt is.',
    ],
    ['a text alone', message('final', 'It is.'), 'It is.'],
    [
      'a call in its channel',
      message('analysis', 'Hm.') + NEXT + message('commentary to=functions.a.b <|constrain|>json', GIVEN),
      `<think>\nHm.\n</think>\n\n${CALLED}`,
    ],
    ['a call in front of its channel', ` to=functions.a.b${message('commentary json', ` ${GIVEN}`)}`, CALLED],
    [
      'words in front of a call',
      message('commentary', 'Let me see.') + NEXT + message('commentary to=functions.a.b json', GIVEN),
      `Let me see.${CALLED}`,
    ],
    [
      'two thoughts',
      message('analysis', 'One.') + NEXT + message('analysis', 'Two.') + NEXT + message('final', 'It is.'),
      '<think>\nOne.\n\nTwo.\n</think>\n\nIt is.',
    ],
    [
      'a thought behind what was said',
      message('commentary', 'So.') + NEXT + message('analysis', 'Hm.') + NEXT + message('final', 'It is.'),
      'So.It is.',
    ],
    ['a call of what is no tool', message('commentary to=browser.search', 'x'), 'x'],
    ['a call of a name that no tool has', message('commentary to=functions.a$b', '{}'), '{}'],
    ['a call whose arguments are no object', message('commentary to=functions.a.b', 'now'), 'now'],
    [
      'a call broken off',
      message('commentary to=functions.a.b', '{"x": "'),
      '<tool_call>\n{"name": "a.b", "arguments": {"x": "',
    ],
    ['a thought broken off', message('analysis', 'Hm <|e'), '<think>\nHm <|e'],
    ['no channel', 'Hello', 'Hello'],
    ['a header broken off', '<|channel|>fin', '<|channel|>fin'],
    ['a second header broken off', `${message('final', 'Yes.')}${NEXT}<|channel|>`, 'Yes.'],
    ['text behind a message', `${message('final', 'Yes.')}<|end|> no`, 'Yes. no'],
    ['text behind a call', `${message('commentary to=functions.a.b', GIVEN)} then`, `${CALLED} then`],
    ['a header without end', 'x'.repeat(300), 'x'.repeat(300)],
  ])('has %s', (_what, text, told) => {
    expect(written(text)).toBe(told)
    for (let at = 0; at <= text.length; at++) {
      expect(written(text.slice(0, at), text.slice(at)), `cut at ${at}`).toBe(told)
      expect(told.startsWith(new ChannelText().push(text.slice(0, at)))).toBe(true)
    }
  })

  it('calls nothing in its thought', () => {
    const thought = 'I may call to=functions.a.b <|message|>{} {"name": "a.b"}'
    const parser = new ToolCallParser()
    expect(answeredCalls([...parser.push(written(message('analysis', thought))), ...parser.end()])).toEqual([])
    const headers = new HeaderText()
    expect(headers.push(`${message('analysis', thought)}${NEXT} to=functions.c<|message|>x`)).toBe(
      '<|channel|>analysis<|message|> to=functions.c<|message|>'.replace('<|message|> to', '<|message|>assistant to'),
    )
  })

  it('is told the same, however it is cut', () => {
    const word = fc.oneof(
      fc.constantFrom(
        ...CHANNEL_TOKENS,
        'analysis',
        'final',
        'commentary',
        'assistant',
        ' to=functions.',
        'a.b',
        '{',
        '}',
      ),
      fc.constantFrom(
        message('analysis', 'Hm.'),
        message('final', 'x'),
        NEXT,
        message('commentary to=functions.c', '{}'),
      ),
      fc.string({ maxLength: 4 }),
    )
    fc.assert(
      fc.property(fc.array(word, { maxLength: 12 }), fc.array(fc.nat(500), { maxLength: 8 }), (words, places) => {
        const text = words.join('')
        const borders = [0, ...places.map((at) => at % (text.length + 1)).toSorted((a, b) => a - b), text.length]
        const whole = written(text)
        expect(written(...borders.slice(1).map((border, i) => text.slice(borders[i], border)))).toBe(whole)
        expect(written(...Array.from({ length: text.length }, (_, i) => text[i]!))).toBe(whole)
      }),
      { numRuns: 400 },
    )
  })

  it('goes on wherever it moves, with its thought counted and stop strings in what is said alone', () => {
    const detokenize = (ids: readonly number[]): string => ids.map((id) => String.fromCharCode(id)).join('')
    const raw = message('analysis', 'No STOP yet.') + NEXT + message('final', 'Yes. STOP here')
    const ids = Array.from({ length: raw.length }, (_, i) => raw.charCodeAt(i))
    const fresh = (): AnswerText =>
      new AnswerText(detokenize, ['STOP'], { open: '<think>', close: '</think>', isOpen: false }, new ChannelText())
    const answer = (from: number): { text: string; thoughtTokens: number } => {
      const state = fresh()
      for (const id of ids.slice(0, from)) state.push(id)
      const text =
        ids
          .slice(from)
          .map((id) => state.push(id))
          .join('') + state.end()
      return { text, thoughtTokens: state.thoughtTokens }
    }
    const whole = answer(0)
    expect(whole.text).toBe('<think>\nNo STOP yet.\n</think>\n\nYes. ')
    expect(whole.thoughtTokens).toBe(raw.indexOf('Yes'))
    for (let at = 0; at <= ids.length; at++) {
      const source = fresh()
      const before = ids
        .slice(0, at)
        .map((id) => source.push(id))
        .join('')
      expect(before + answer(at).text, `moved at ${at}`).toBe(whole.text)
    }
  })
})
