/** JSONL of clients: the same lines wherever the chunks end, and hostile ones told by their number. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { checkInput, rawLines, type CheckedInput } from '../../../coordinator/batches/lines.ts'
import { parseJsonBody } from '../../../coordinator/gateway/json-body.ts'
import { LIMITS } from '../../../mesh/protocol/index.ts'

/** `bytes` in chunks that end at `cuts`. */
async function* chunked(bytes: Uint8Array, cuts: readonly number[] = []): AsyncGenerator<Uint8Array> {
  let from = 0
  for (const cut of [...cuts].sort((a, b) => a - b)) {
    yield bytes.subarray(from, Math.max(from, cut))
    from = Math.max(from, cut)
  }
  yield bytes.subarray(from)
}

async function linesOf(bytes: Uint8Array, cuts: readonly number[], max = 1000) {
  const lines = []
  for await (const { number, offset, bytes: line } of rawLines(chunked(bytes, cuts), max))
    lines.push({ number, offset, text: line?.toString('latin1') })
  return lines
}

const ENDPOINT = '/v1/chat/completions'
const line = (customId: unknown, more: object = {}): string =>
  JSON.stringify({ custom_id: customId, method: 'POST', url: ENDPOINT, body: { model: 'tiny', messages: [] }, ...more })

const check = (text: string | Uint8Array): Promise<CheckedInput> =>
  checkInput(chunked(typeof text === 'string' ? Buffer.from(text) : text), ENDPOINT, parseJsonBody)

describe('lines', () => {
  it('are the same wherever the chunks end', async () => {
    const text = fc.string({ unit: fc.constantFrom('a', '\n', '\r', ' ', 'é'), maxLength: 60 })
    await fc.assert(
      fc.asyncProperty(text, fc.array(fc.nat(80), { maxLength: 8 }), async (given, cuts) => {
        const bytes = Buffer.from(given)
        const expected = []
        let offset = 0
        for (const [index, each] of given.split('\n').entries()) {
          if (each.trim() !== '')
            expected.push({ number: index + 1, offset, text: Buffer.from(each).toString('latin1') })
          offset += Buffer.byteLength(each) + 1
        }
        const inside = cuts.filter((cut) => cut <= bytes.length)
        expect(await linesOf(bytes, inside)).toEqual(expected)
      }),
    )
  })

  it('that are too long are told without being held, and the next one is whole', async () => {
    const bytes = Buffer.from(`${'x'.repeat(50)}\nshort\n${'y'.repeat(21)}`)
    const cuts = Array.from({ length: 9 }, (_, i) => i * 7)
    expect(await linesOf(bytes, cuts, 20)).toEqual([
      { number: 1, offset: 0, text: undefined },
      { number: 2, offset: 51, text: 'short' },
      { number: 3, offset: 57, text: undefined },
    ])
  })
})

describe('an input', () => {
  it('is counted, with the models that it names', async () => {
    const text = [line('a'), '', line('b', { body: { model: 'other' } }), line('c')].join('\n')
    expect(await check(text)).toEqual({ total: 3, models: ['tiny', 'other'], hasMoreModels: false, problems: [] })
  })

  it('takes a byte-order mark and Windows line ends', async () => {
    expect(await check(`\ufeff${line('a')}\r\n${line('b')}\r\n`)).toMatchObject({ total: 2, problems: [] })
  })

  it.each([
    ['no JSON', '{"custom_id":', { code: 'invalid_json_line' }],
    ['no object', '[1]', { code: 'invalid_json_line' }],
    ['a bomb', '['.repeat(100_000), { code: 'invalid_json_line' }],
    ['no id', line(undefined), { code: 'invalid_request', param: 'custom_id' }],
    ['an id that is a number', line(7), { code: 'invalid_request', param: 'custom_id' }],
    ['a long id', line('i'.repeat(LIMITS.batchCustomIdLengthMax + 1)), { code: 'invalid_request', param: 'custom_id' }],
    ['another method', line('x', { method: 'GET' }), { code: 'invalid_request', param: 'method' }],
    ['another endpoint', line('x', { url: '/v1/embeddings' }), { code: 'url_mismatch', param: 'url' }],
    ['no body', line('x', { body: 'text' }), { code: 'invalid_request', param: 'body' }],
    ['no model', line('x', { body: {} }), { code: 'invalid_request', param: 'body.model' }],
    ['an id twice', line('first'), { code: 'duplicate_custom_id', param: 'custom_id' }],
  ])('with a line of %s is told which one', async (_, bad, problem) => {
    const { problems, total } = await check([line('first'), bad, line('last')].join('\n'))
    expect(problems).toEqual([{ ...problem, message: expect.any(String) as string, line: 2 }])
    expect(total).toBe(3)
  })

  it('with bytes that are no UTF-8 is told so, and not read as something else', async () => {
    const bytes = Buffer.concat([Buffer.from('{"custom_id":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')])
    expect((await check(bytes)).problems).toMatchObject([{ code: 'invalid_json_line', line: 1 }])
  })

  it('with a line over the bound is told so', async () => {
    const long = line('x', { body: { model: 'tiny', pad: 'p'.repeat(LIMITS.batchLineBytesMax) } })
    expect((await check(`${line('a')}\n${long}\n`)).problems).toMatchObject([{ code: 'line_too_long', line: 2 }])
  })

  it('of nothing but white space is empty', async () => {
    for (const text of ['', '\n\n \n'])
      expect((await check(text)).problems).toEqual([{ code: 'empty_file', message: expect.any(String) as string }])
  })

  it('may have as many requests as OpenAI allows, and not one more', async () => {
    const tooMany = Array.from({ length: LIMITS.batchLinesMax + 1 }, (_, i) => line(String(i))).join('\n')
    expect(await check(tooMany)).toMatchObject({
      total: LIMITS.batchLinesMax + 1,
      problems: [{ code: 'too_many_tasks' }],
    })
  })

  it('tells the first hundred problems', async () => {
    const { problems } = await check(Array.from({ length: 200 }, () => '{').join('\n'))
    expect(problems).toHaveLength(LIMITS.batchProblemsMax)
    expect(problems.at(-1)?.line).toBe(LIMITS.batchProblemsMax)
  })

  it('never copies a member named __proto__', async () => {
    const text = `{"custom_id":"a","method":"POST","url":"${ENDPOINT}","body":{"model":"tiny","__proto__":{"x":1}}}`
    expect((await check(text)).problems).toEqual([])
    expect(({} as { x?: number }).x).toBeUndefined()
  })
})
