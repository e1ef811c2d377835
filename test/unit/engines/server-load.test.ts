/** What a vLLM server says of its load, and what a node makes of it. */
import { describe, expect, it } from 'vitest'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'
import { loadIn, LoadWatch } from '../../../node/engines/index.ts'

const metrics = (running: number, waiting: number, kv: number, name = 'm'): string =>
  `# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="${name}"} ${running}.0
vllm:num_requests_waiting{engine="0",model_name="${name}"} ${waiting}.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="${name}",reason="capacity"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="${name}"} ${kv}
`

describe('the metrics of a vLLM server', () => {
  it('tell what runs, what waits, and how full its memory is', () => {
    expect(loadIn(metrics(3, 2, 0.25), 'm')).toEqual({ running: 3, waiting: 2, kvUse: 0.25 })
  })

  it('are summed over its engines', () => {
    const two = metrics(3, 0, 0.25) + metrics(4, 1, 0.75).replaceAll('engine="0"', 'engine="1"')
    expect(loadIn(two, 'm')).toEqual({ running: 7, waiting: 1, kvUse: 0.75 })
  })

  it('may name its one model otherwise than it was asked, and not one of several', () => {
    expect(loadIn(metrics(3, 0, 0, 'org/m'), 'm')?.running).toBe(3)
    expect(loadIn(metrics(3, 0, 0, 'a') + metrics(1, 0, 0, 'b'), 'm')).toBeUndefined()
    expect(loadIn(metrics(3, 0, 0, 'a') + metrics(1, 0, 0, 'b'), 'b')?.running).toBe(1)
  })

  it.each([
    ['nothing', ''],
    ['a page', '<html>'],
    ['no numbers', 'vllm:num_requests_running{model_name="m"} many'],
    ['numbers that cannot be', 'vllm:num_requests_running{model_name="m"} -1\nvllm:num_requests_running NaN'],
    ['labels without an end', `vllm:num_requests_running{model_name="${'"'.repeat(50_000)} 1`],
  ])('that are %s tell nothing', (_, text) => expect(loadIn(text, 'm')).toBeUndefined())
})

describe('a look at them', () => {
  const watching = (own = 0) => {
    const clock = new ManualClock()
    const state: { text: string | undefined; looks: number; changes: number } = {
      text: undefined,
      looks: 0,
      changes: 0,
    }
    const client = {
      url: 'http://x',
      text: () => {
        state.looks++
        return Promise.resolve(state.text)
      },
    }
    const watch = new LoadWatch(
      { clock, log: silentLogger, client, own: () => own, onChange: () => void state.changes++ },
      'm',
    )
    watch.start()
    return { clock, state, watch }
  }

  it('counts what others have it do beside what this node asks', async () => {
    const { clock, state, watch } = watching(2)
    state.text = metrics(5, 0, 0.5)
    await clock.advance(1000)
    expect(watch.stats).toEqual({ others: 3, isFull: false, waiting: 0, kvUse: 0.5 })
    state.text = metrics(5, 1, 0.51)
    await clock.advance(1000)
    expect(watch.stats).toMatchObject({ others: 4, isFull: true, waiting: 1 })
    expect(state.changes).toBe(2)
    await clock.advance(1000)
    expect(state.changes, 'told on change').toBe(2)
    watch.stop()
    expect(clock.pendingTimers).toBe(0)
  })

  it('is full when its memory is, though nothing waits yet', async () => {
    const { clock, state, watch } = watching()
    state.text = metrics(1, 0, 0.96)
    await clock.advance(1000)
    expect(watch.stats?.isFull).toBe(true)
  })

  it('that shows none is seldom repeated, and believed again when they are there', async () => {
    const { clock, state, watch } = watching()
    await clock.advance(10_000)
    expect(state.looks).toBe(1)
    expect(watch.stats).toBeUndefined()
    state.text = metrics(1, 0, 0)
    await clock.advance(25_000)
    expect(watch.stats?.others).toBe(1)
    state.text = undefined
    await clock.advance(1000)
    expect(watch.stats, 'what is old is not told').toBeUndefined()
  })
})
