/** What is taken out of texts before they leave. */
import { describe, expect, it } from 'vitest'
import { Redactor } from '../../../coordinator/cloud/redaction.ts'
import type { Prompt } from '../../../mesh/protocol/index.ts'

const MAIL = { pattern: '[\\w.]{1,64}@[\\w.]{1,64}', with: '[mail]' }
/** On a busy machine the time of real requests may be over before anything was done. */
const AGES_MS = 60_000
const redactor = new Redactor([MAIL, { pattern: '\\b\\d{16}\\b', with: '[card]' }], AGES_MS)

describe('a prompt', () => {
  it('loses every match in each of its texts, and nothing else', () => {
    const prompt: Prompt = {
      kind: 'chat',
      messages: [
        { role: 'system', content: 'be brief' },
        { role: 'user', content: 'I am a.b@example.org, card 4111111111111111.', name: 'a' },
        {
          role: 'assistant',
          content: '',
          thought: 'a.b@example.org asks',
          toolCalls: [{ id: 'a@b', name: 'send', arguments: '{"to":"a.b@example.org"}' }],
        },
        { role: 'tool', content: 'sent to a.b@example.org', toolCallId: 'a@b' },
      ],
      tools: [{ name: 'send', description: 'as a.b@example.org', parameters: '{"type":"object"}' }],
      thinking: { isOn: true },
    }
    const { value, count } = redactor.prompt(prompt)
    expect(count).toBe(6)
    expect(JSON.stringify(value)).not.toMatch(/example|4111/)
    expect(value).toMatchObject({
      messages: [
        { content: 'be brief' },
        { content: 'I am [mail], card [card].', name: 'a' },
        { thought: '[mail] asks', toolCalls: [{ id: 'a@b', arguments: '{"to":"[mail]"}' }] },
        { content: 'sent to [mail]', toolCallId: 'a@b' },
      ],
      tools: [{ name: 'send', description: 'as [mail]', parameters: '{"type":"object"}' }],
      thinking: { isOn: true },
    })
    // the ledger's own is as it was
    expect(JSON.stringify(prompt)).toContain('a.b@example.org')
  })

  it('that has none is the same', () => {
    const prompt: Prompt = { kind: 'text', text: 'why $& do \u{1f9a2} fly' }
    expect(redactor.prompt(prompt)).toEqual({ value: prompt, count: 0 })
    expect(redactor.prompt(prompt).value).toBe(prompt)
    expect(new Redactor([]).isIdle).toBe(true)
    expect(new Redactor([{ pattern: 'why', with: '$&' }], AGES_MS).prompt(prompt).value).toMatchObject({
      text: '$& $& do \u{1f9a2} fly',
    })
  })

  it('does not leave when that takes too long, grows too long, or breaks a call', () => {
    const slow = new Redactor([{ pattern: '(a+)+!', with: '' }], 20)
    expect(() => slow.prompt({ kind: 'text', text: 'a'.repeat(60) })).toThrow(/it does not leave/)
    expect(() => slow.finds('a'.repeat(60))).toThrow(/it does not leave/)
    const grows = new Redactor([{ pattern: 'a', with: 'b'.repeat(512) }], AGES_MS)
    expect(() => grows.prompt({ kind: 'text', text: 'a'.repeat(10_000) })).toThrow(/too long/)
    const call = { id: '1', name: 'pay', arguments: '{"card":4111111111111111}' }
    const messages = [{ role: 'assistant' as const, content: '', toolCalls: [call] }]
    expect(() => redactor.prompt({ kind: 'chat', messages })).toThrow(/no JSON any more/)
  })
})

describe('other texts', () => {
  it('of work lose the same, and tensors stay', () => {
    expect(redactor.work({ kind: 'embed', texts: ['to a@b', 'x'] })).toEqual({
      value: { kind: 'embed', texts: ['to [mail]', 'x'] },
      count: 1,
    })
    const data = new Uint8Array([1, 2, 3, 4])
    const tensors = [{ name: 'x', type: 'float32' as const, shape: [1], data }]
    expect(redactor.work({ kind: 'infer', tensors }).value).toEqual({ kind: 'infer', tensors })
  })

  it('are only looked at where they cannot be changed', () => {
    expect(redactor.finds('no')).toBe(false)
    expect(redactor.finds('to a@b')).toBe(true)
  })
})
