import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { nestsDeeper, parseJsonBody } from '../../../coordinator/gateway/json-body.ts'
import { CHUNK_UNITS_MAX, COMMENTS_MAX } from '../../../coordinator/gateway/limits.ts'
import { errorBody, errorHeaders } from '../../../coordinator/gateway/openai-errors.ts'
import { TaskInbox, type Batch } from '../../../coordinator/gateway/task-inbox.ts'
import { ERRORS, SkeinError, type ErrorCode } from '../../../mesh/protocol/index.ts'
import { ManualClock, PushQueue } from '../../../mesh/runtime/index.ts'
import type { TaskEvent } from '../../../coordinator/admission/index.ts'
import { end, started, status, tokens } from '../../fixtures/mesh-service-twin.ts'

describe('the depth scan', () => {
  /** Depth by walking the value that the real parser made. */
  const depthOf = (value: unknown): number =>
    typeof value === 'object' && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0

  it('agrees with the parser on every JSON value', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
        const bytes = Buffer.from(JSON.stringify(value))
        const depth = depthOf(value)
        expect(nestsDeeper(bytes, depth)).toBe(false)
        if (depth > 0) expect(nestsDeeper(bytes, depth - 1)).toBe(true)
      }),
    )
  })

  it('lets the parser judge any bytes, and only with INVALID_JSON', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          parseJsonBody(Buffer.from(bytes))
        } catch (error) {
          expect(error).toMatchObject({ code: 'INVALID_JSON' })
        }
      }),
    )
  })
})

describe('errors', () => {
  it.each(Object.keys(ERRORS) as ErrorCode[])(
    '%s has a shape, and Retry-After when it may be retried at 503',
    (code) => {
      const error = new SkeinError(code, 'why', { param: 'p' })
      const { http, retryable } = ERRORS[code]
      expect(errorBody(error, 'req_x').error).toMatchObject({ param: 'p', code: code.toLowerCase() })
      expect(errorBody(error, 'req_x').error.type).toMatch(
        http < 500 ? /^(invalid_request|authentication|permission|rate_limit)_error$/ : /^server_error$/,
      )
      expect(errorHeaders(error)['retry-after']).toBe(retryable && http === 503 ? '1' : undefined)
    },
  )
})

describe('the inbox of a task', () => {
  function open(backlogBytesMax = 1 << 20) {
    const clock = new ManualClock()
    const queue = new PushQueue<TaskEvent>(10_000)
    const controller = new AbortController()
    let overflows = 0
    const inbox = new TaskInbox(queue, controller.signal, clock, {
      after: 0,
      keepaliveMs: 10_000,
      backlogBytesMax,
      onOverflow: () => overflows++,
    })
    return { clock, queue, controller, inbox, overflows: () => overflows }
  }
  async function all(inbox: TaskInbox): Promise<Batch[]> {
    const batches: Batch[] = []
    for await (const batch of inbox.batches()) batches.push(batch)
    return batches
  }

  it('merges what waits into one batch', async () => {
    const { clock, queue, inbox } = open()
    for (const event of [started(), tokens(0, 'a'), tokens(1, 'b'), status('x'), end('c')]) queue.push(event)
    queue.end()
    await clock.advance(0)
    expect(await all(inbox)).toEqual([
      {
        comments: ['x'],
        isStarted: true,
        text: 'abc',
        logprobs: [],
        tokens: 2,
        position: 3,
        end: expect.objectContaining({ type: 'end' }),
        failure: undefined,
      },
    ])
  })

  it('delivers every text whole and in order, in chunks that never halve a character', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.string({ unit: 'binary', maxLength: 40 }), { maxLength: 20 }), async (pieces) => {
        const { clock, queue, inbox } = open(Number.MAX_SAFE_INTEGER)
        const filler = '😀'.repeat(CHUNK_UNITS_MAX / 4)
        const texts = pieces.flatMap((piece) => [piece, filler])
        for (const [index, text] of texts.entries()) queue.push(tokens(index, text))
        queue.push(end('.'))
        queue.end()
        await clock.advance(0)
        const batches = await all(inbox)
        expect(batches.map(({ text }) => text).join('')).toBe(`${texts.join('')}.`)
        for (const { text } of batches) expect(text.length).toBeLessThanOrEqual(CHUNK_UNITS_MAX)
        for (const { text } of batches) expect(text.isWellFormed()).toBe(true)
        expect(batches.filter((batch) => batch.end)).toEqual([batches.at(-1)])
      }),
      { numRuns: 20 },
    )
  })

  it('keeps the newest comments only', async () => {
    const { clock, queue, inbox } = open()
    for (let i = 0; i < COMMENTS_MAX + 5; i++) queue.push(status(`queued ${i}`))
    queue.push(end())
    queue.end()
    // each advance lets a bounded number of promises settle
    for (let i = 0; i < COMMENTS_MAX; i++) await clock.advance(0)
    const [batch] = await all(inbox)
    expect(batch!.comments).toHaveLength(COMMENTS_MAX)
    expect(batch!.comments.at(-1)).toBe(`queued ${COMMENTS_MAX + 4}`)
  })

  it('gives the client up once when too much waits', async () => {
    const { clock, queue, overflows } = open(10)
    for (const [index, text] of ['abcde', 'f', 'g'].entries()) queue.push(tokens(index, text))
    await clock.advance(0)
    expect(overflows()).toBe(1)
  })

  it('counts log probabilities as well, also of tokens that release no text', async () => {
    const { clock, queue, overflows } = open(10_000)
    const share = { bytes: new Uint8Array([97]), logprob: -1 }
    const logprobs = [{ ...share, top: Array.from({ length: 20 }, () => share) }]
    for (let index = 0; index < 5; index++) {
      expect(overflows()).toBe(index < 4 ? 0 : 1)
      queue.push(tokens(index, '', 1, logprobs))
      await clock.advance(0)
    }
  })

  it('ends with the reason of the signal, after the text that had come', async () => {
    const { clock, queue, inbox, controller } = open()
    queue.push(tokens(0, 'a'))
    await clock.advance(0)
    controller.abort(new SkeinError('SHUTTING_DOWN', 'stop'))
    queue.push(tokens(1, 'too late'))
    expect(await all(inbox)).toMatchObject([{ text: 'a', failure: { code: 'SHUTTING_DOWN' }, end: undefined }])
  })

  it('waits for an attempt no longer than it is told', async () => {
    const { clock, queue, inbox } = open()
    let isOpen = false
    const opening = inbox.opened(2000).then(() => (isOpen = true))
    queue.push(status('queued 1'))
    await clock.advance(1999)
    expect(isOpen).toBe(false)
    await clock.advance(1)
    await opening
    expect(inbox.started).toBeUndefined()
    expect(clock.pendingTimers).toBe(0)
  })
})
