import { describe, expect, it } from 'vitest'
import { PrefixCache, PrefixIndex } from '../../../coordinator/directory/prefixes.ts'
import { commonBytes, promptPrefix, type PromptPrefix } from '../../../coordinator/scheduler/index.ts'
import { toolCallText, type ChatMessage } from '../../../mesh/protocol/index.ts'
import { DIGEST, OTHER_DIGEST } from './snapshots.ts'

const chat = (...messages: ChatMessage[]): PromptPrefix => promptPrefix({ kind: 'chat', messages })
const text = (of: string): PromptPrefix => promptPrefix({ kind: 'text', text: of })
const user = (content: string): ChatMessage => ({ role: 'user', content })
const assistant = (content: string): ChatMessage => ({ role: 'assistant', content })
const lastEnd = ({ ends }: PromptPrefix): number => ends.at(-1) ?? 0

describe('promptPrefix', () => {
  it('grows with the prompt: the next turn begins with the whole turn before, its answer included', () => {
    const first = [user('a'.repeat(700)), assistant('b'.repeat(900))] as const
    const next = chat(...first, user('c'.repeat(300)))
    const turn = chat(...first)
    expect(commonBytes(turn, next)).toBe(lastEnd(turn))
    expect(lastEnd(turn)).toBeGreaterThan(1600 - 64)
    expect(lastEnd(next)).toBeGreaterThan(lastEnd(turn))
  })

  it('tells apart what differs at the start, in the middle, in a role and in a name', () => {
    const long = 'x'.repeat(1000)
    expect(commonBytes(text(`a${long}`), text(`b${long}`))).toBe(0)
    const halfway = commonBytes(text(`${long}a${long}`), text(`${long}b${long}`))
    expect(halfway).toBeGreaterThan(900)
    expect(halfway).toBeLessThanOrEqual(1000)
    expect(commonBytes(chat(user(long)), chat(assistant(long)))).toBe(0)
    expect(commonBytes(chat(user(long)), chat({ ...user(long), name: 'n' }))).toBe(0)
  })

  it('tells tools apart, and knows a call in the answer again in the next turn', () => {
    const long = 'x'.repeat(1000)
    const tools = [{ name: 'a', description: long, parameters: '{}' }]
    const asked = (...messages: ChatMessage[]): PromptPrefix => promptPrefix({ kind: 'chat', messages, tools })
    expect(commonBytes(asked(user(long)), chat(user(long)))).toBe(0)
    const other = promptPrefix({ kind: 'chat', messages: [user(long)], tools: [{ ...tools[0]!, name: 'b' }] })
    expect(commonBytes(asked(user(long)), other)).toBe(0)
    const toolCalls = [{ id: '1', name: 'a', arguments: `{"x": "${long}"}` }]
    const answered = asked(user('y'), assistant(toolCallText(toolCalls[0]!)))
    const told: ChatMessage = { role: 'tool', content: long, toolCallId: '1' }
    const next = asked(user('y'), { ...assistant(''), toolCalls }, told)
    expect(commonBytes(answered, next)).toBe(lastEnd(answered))
    expect(lastEnd(answered)).toBeGreaterThan(1900)
  })

  it('loses no more than a 32nd of a long prompt to its last block', () => {
    for (const bytes of [3000, 20_000, 200_000, 500_000])
      expect(lastEnd(text('ä'.repeat(bytes / 2)))).toBeGreaterThan(bytes * (1 - 1 / 32) - 64)
  })

  it('is bounded for the longest prompt, and empty for a short one', () => {
    const huge = text('y'.repeat(4 * 1024 * 1024))
    expect(huge.hashes).toHaveLength(256)
    expect(huge.ends).toHaveLength(256)
    expect(lastEnd(huge)).toBe(510 * 1024)
    expect(text('short').hashes).toEqual([])
  })

  it('hashes to whole numbers that a prompt of one letter repeated does not repeat', () => {
    const { hashes } = text('z'.repeat(200_000))
    expect(new Set(hashes).size).toBe(hashes.length)
    expect(hashes.every(Number.isSafeInteger)).toBe(true)
  })
})

describe('PrefixCache', () => {
  const a = text('a'.repeat(640))
  const b = text('b'.repeat(640))
  const c = text('c'.repeat(640))

  it('holds as many as there are slots, the oldest goes first', () => {
    const cache = new PrefixCache()
    for (const each of [a, b, c]) cache.remember(each, 2)
    expect(cache.cachedBytes(a, 2)).toBe(0)
    expect(cache.cachedBytes(b, 2)).toBe(640)
    expect(cache.cachedBytes(b, 1)).toBe(0)
    expect(cache.cachedBytes(c, 1)).toBe(640)
    cache.clear()
    expect(cache.cachedBytes(c, 2)).toBe(0)
  })

  it('a turn takes the place of the turn before', () => {
    const cache = new PrefixCache()
    cache.remember(b, 2)
    cache.remember(a, 2)
    const longer = text('a'.repeat(1280))
    cache.remember(longer, 2)
    expect(cache.cachedBytes(longer, 2)).toBe(1280)
    expect(cache.cachedBytes(b, 2)).toBe(640)
  })
})

describe('PrefixIndex', () => {
  it('finds who ran the longest part of a prompt, for that model', () => {
    const index = new PrefixIndex<string>()
    index.remember(DIGEST, text('a'.repeat(640)), 'short')
    index.remember(DIGEST, text('a'.repeat(1280)), 'long')
    expect(index.find(DIGEST, text('a'.repeat(2000)))).toBe('long')
    expect(index.find(DIGEST, text('a'.repeat(1000)))).toBe('short')
    expect(index.find(OTHER_DIGEST, text('a'.repeat(2000)))).toBeUndefined()
    expect(index.find(DIGEST, text('tiny'))).toBeUndefined()
  })

  it('is bounded: who was remembered longest ago is forgotten', () => {
    const index = new PrefixIndex<number>()
    const of = (i: number): PromptPrefix => ({ hashes: [i], ends: [64] })
    for (let i = 0; i <= 16_384; i++) index.remember(DIGEST, of(i), i)
    expect(index.find(DIGEST, of(0))).toBeUndefined()
    expect(index.find(DIGEST, of(1))).toBe(1)
  })
})
