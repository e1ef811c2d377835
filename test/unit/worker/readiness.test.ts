/** Whether the server beside a worker answers: no model is offered before it has made a token. */
import { describe, expect, it } from 'vitest'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'
import type { UpstreamClient } from '../../../node/engines/index.ts'
import { Readiness } from '../../../node/worker/index.ts'

type Reply = { readonly status: number; readonly body?: unknown }

function begin(replies: Record<string, Reply | (() => Reply)>) {
  const clock = new ManualClock()
  const asked: string[] = []
  const told: string[] = []
  const client = {
    url: 'http://x',
    ask: (path: string) => {
      asked.push(path)
      const reply = replies[path] ?? { status: 404 }
      const { status, body } = typeof reply === 'function' ? reply() : reply
      return Promise.resolve({ status, headers: {}, body })
    },
  } as unknown as UpstreamClient
  const onChange = (ready: readonly string[]): void => void told.push(ready.join())
  const readiness = new Readiness({ clock, log: silentLogger, client, onChange })
  return { clock, asked, told, readiness, replies }
}

const LIST: Reply = { status: 200, body: { data: [{ id: 'm' }] } }
const TOKEN: Reply = { status: 200, body: { choices: [{ text: 'b' }] } }

describe('a server beside a worker', () => {
  it('is ready when it is healthy, lists its model, and has made a token of it', async () => {
    const { clock, told, readiness, replies, asked } = begin({ '/health': { status: 503 }, '/v1/models': LIST })
    await readiness.start()
    await clock.advance(3000)
    expect(asked.every((path) => path === '/health')).toBe(true)
    replies['/health'] = { status: 200 }
    await clock.advance(2000)
    expect(readiness.isReady('m'), 'it lists a model that makes nothing').toBe(false)
    replies['/v1/completions'] = TOKEN
    await clock.advance(1000)
    expect(readiness.isReady('m')).toBe(true)
    expect(told).toEqual(['m'])
    const tests = asked.filter((path) => path === '/v1/completions').length
    await clock.advance(20_000)
    expect(asked.filter((path) => path === '/v1/completions')).toHaveLength(tests)
    await readiness.stop()
  })

  it('is ready with a vector where it makes no tokens', async () => {
    const vector = { status: 200, body: { data: [{ embedding: [1] }] } }
    const { clock, readiness } = begin({ '/v1/models': LIST, '/v1/embeddings': vector })
    await readiness.start()
    await clock.advance(1000)
    expect(readiness.isReady('m')).toBe(true)
    await readiness.stop()
  })

  it('is not ready any more when its engine is dead, after one look that it may miss; and is tried again', async () => {
    const { clock, told, readiness, replies } = begin({
      '/health': { status: 200 },
      '/v1/models': LIST,
      '/v1/completions': TOKEN,
    })
    await readiness.start()
    await clock.advance(1000)
    replies['/health'] = { status: 503 }
    await clock.advance(5000)
    expect(readiness.isReady('m')).toBe(true)
    await clock.advance(5000)
    expect(readiness.isReady('m')).toBe(false)
    replies['/health'] = { status: 200 }
    await clock.advance(1000)
    expect(told).toEqual(['m', '', 'm'])
    await readiness.stop()
  })

  it('has lost a model that it does not list any more', async () => {
    const { clock, readiness, replies } = begin({ '/v1/models': LIST, '/v1/completions': TOKEN })
    await readiness.start()
    await clock.advance(1000)
    replies['/v1/models'] = { status: 200, body: { data: [{ id: 'n' }] } }
    await clock.advance(5000)
    expect([readiness.isReady('m'), readiness.isReady('n')]).toEqual([false, true])
    await readiness.stop()
  })
})
