import { describe, expect, it } from 'vitest'
import { asTaskId, attemptSpanId, readTraceparent, traceIdOf, traceparentOf } from '../../../mesh/protocol/index.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'
const GOOD = `00-${TRACE}-${SPAN}-01`

describe('a traceparent', () => {
  it('is read and written', () => {
    const context = readTraceparent(GOOD)
    expect(context).toEqual({ traceId: TRACE, spanId: SPAN, isSampled: true })
    expect(traceparentOf(context!)).toBe(GOOD)
    expect(readTraceparent(`00-${TRACE}-${SPAN}-00`)).toMatchObject({ isSampled: false })
    // flags that are not known yet
    expect(readTraceparent(`00-${TRACE}-${SPAN}-03`)).toMatchObject({ isSampled: true })
    expect(traceIdOf(GOOD)).toBe(TRACE)
  })

  it('of a later version is read as far as it is known', () => {
    expect(readTraceparent(`01-${TRACE}-${SPAN}-01-more`)).toMatchObject({ traceId: TRACE, isSampled: true })
    expect(readTraceparent(`01-${TRACE}-${SPAN}-01`)).toMatchObject({ spanId: SPAN })
  })

  it.each([
    '',
    GOOD.toUpperCase(),
    `${GOOD}-more`,
    `${GOOD} `,
    `ff-${TRACE}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}-${SPAN}`,
    `01-${TRACE}-${SPAN}-01more`,
    `01-${TRACE}-${SPAN}-01-${'x'.repeat(300)}`,
  ])('%s is none', (text) => {
    expect(readTraceparent(text)).toBeUndefined()
  })
})

describe('the span of an attempt', () => {
  const [one, two] = [asTaskId(`task_${'a'.repeat(24)}`), asTaskId(`task_${'a'.repeat(23)}b`)]

  it('is the same for who asks again, and another for each task, fence and side', () => {
    expect(attemptSpanId(one, 7, 'node')).toBe(attemptSpanId(one, 7, 'node'))
    const ids = [one, two].flatMap((task) =>
      [1, 2, 2 ** 20 + 1].flatMap((fence) =>
        (['coordinator', 'node'] as const).map((side) => attemptSpanId(task, fence, side)),
      ),
    )
    expect(new Set(ids).size).toBe(ids.length)
    for (const id of ids) expect(id).toMatch(/^[0-9a-f]{16}$/)
  })
})
