/** The schemas of OpenAI's answers, and that they find what does not fit. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { expectStrict, SCHEMAS_CLIENT } from '../../fixtures/openai/strict.ts'

const MODEL = { id: 'a', object: 'model', created: 1, owned_by: 'x' }
const CHUNK = {
  ...{ id: 'a', object: 'chat.completion.chunk', created: 1, model: 'm' },
  choices: [{ index: 0, delta: { content: 'a', reasoning_content: 'b' }, finish_reason: null }],
}

describe('schemas of the official client', () => {
  it('are of the one that is installed; else: node test/fixtures/openai/write.ts', () => {
    const path = new URL('../../../node_modules/openai/package.json', import.meta.url)
    expect((JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version).toBe(SCHEMAS_CLIENT)
  })

  it.each<[string, unknown]>([
    ['Model', MODEL],
    ['models', { object: 'list', data: [{ ...MODEL, digest: 'd' }] }],
    ['ChatCompletionChunk', CHUNK],
    ['ResponseErrorEvent', { type: 'error', code: 'a', message: 'b', param: null, sequence_number: 1 }],
    ['error', { error: { message: 'a', type: 'b', param: null, code: 'c' } }],
  ])('%s fits', (name, value) => {
    expect(() => expectStrict(name, value)).not.toThrow()
  })

  it.each<[string, string, unknown]>([
    ['lacks a member', 'Model', { ...MODEL, created: undefined }],
    ['has one too many', 'Model', { ...MODEL, extra: 1 }],
    ['has one of another type', 'Model', { ...MODEL, created: '1' }],
    ['has one too many inside', 'ChatCompletionChunk', { ...CHUNK, choices: [{ ...CHUNK.choices[0], extra: 1 }] }],
    ['has another word', 'ChatCompletionChunk', { ...CHUNK, choices: [{ ...CHUNK.choices[0], finish_reason: 'x' }] }],
    ['is of another type', 'ResponseStreamEvent', { type: 'response.unknown', sequence_number: 1 }],
  ])('what %s does not fit', (_what, name, value) => {
    expect(() => expectStrict(name, JSON.parse(JSON.stringify(value)))).toThrow(`this is no ${name}`)
  })
})
