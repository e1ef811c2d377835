/** The connection of the page: what it says of its coordinator, and the one stream of events that all share. */
import { describe, expect, it } from 'vitest'
import { Connection } from '../../../../clients/web/app/connection.ts'
import type { MeshEventView } from '../../../../clients/web/app/events.ts'
import { PlayedClock, PlayedStore, settle } from './played.ts'

interface Asked {
  readonly path: string
  readonly headers: Headers
  readonly signal: AbortSignal | undefined
}

/** A page whose coordinator answers with what `answer` says. */
function page(answer: (asked: Asked) => Response | Promise<Response>) {
  const clock = new PlayedClock()
  const kept = new PlayedStore()
  const asked: Asked[] = []
  const fetch = async (url: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const one = {
      path: new URL(url as string).pathname,
      headers: new Headers(init.headers),
      signal: init.signal ?? undefined,
    }
    asked.push(one)
    return answer(one)
  }
  const make = () =>
    new Connection({
      ...{ origin: 'http://mesh.test', clock, kept, fetch: fetch as typeof globalThis.fetch },
      random: { bytes: (length) => new Uint8Array(length), unit: () => 0.5 },
    })
  return { clock, kept, asked, make }
}

const models = () => Response.json({ object: 'list', data: [] })
const refusal = (status: number, code: string) => Response.json({ error: { message: code, code } }, { status })
const away = () => Promise.reject(new TypeError('fetch failed'))

describe('the state of the connection', () => {
  it('is that of the coordinator, and is looked for again with growing pauses', async () => {
    let isAway = true
    const { clock, asked, make } = page(() => (isAway ? away() : models()))
    const connection = make()
    expect(connection.state.value).toBe('unknown')
    connection.start()
    await settle()
    expect(connection.state.value).toBe('offline')
    await clock.move(60_000)
    const tries = asked.length
    expect(tries).toBeGreaterThan(4)
    await clock.move(60_000)
    // at most one each 7.5 s by then
    expect(asked.length - tries).toBeLessThanOrEqual(9)
    isAway = false
    await clock.move(15_000)
    expect(connection.state.value).toBe('online')
  })

  it('asks for a key, tells a wrong one, and uses a good one in requests of all tabs', async () => {
    const { kept, asked, make } = page(({ headers }) =>
      headers.get('authorization') === 'Bearer good' ? models() : refusal(401, 'unauthorized'),
    )
    const connection = make()
    expect(await connection.look()).toBe('key-needed')
    expect(await connection.useKey('bad')).toBe('key-needed')
    expect(await connection.useKey('good')).toBe('online')
    expect(kept.values.get('skein.key')).toBe('good')
    expect(connection.hasKey).toBe(true)

    const other = make()
    expect(await other.look()).toBe('online')
    other.start()
    kept.changeElsewhere('skein.key', undefined)
    expect(other.hasKey).toBe(false)
    expect(await other.look()).toBe('key-needed')
    expect(asked.at(-1)!.headers.has('authorization')).toBe(false)
  })

  it('is forbidden to a key that may not ask, and does not take a key that no header can carry', async () => {
    const { asked, make } = page(() => refusal(403, 'forbidden'))
    const connection = make()
    expect(await connection.useKey('a key\nwith lines')).toBe('forbidden')
    expect(asked[0]!.headers.has('authorization')).toBe(false)
  })

  it('turns with what requests meet, and a refused request is no lost coordinator', async () => {
    let answer: () => Response | Promise<Response> = models
    const { make } = page(() => answer())
    const connection = make()
    await connection.look()
    answer = () => refusal(404, 'not_found')
    await expect(connection.get('/mesh/v1/none')).rejects.toMatchObject({ code: 'not_found', status: 404 })
    expect(connection.state.value).toBe('online')
    answer = away
    await expect(connection.get('/mesh/v1/self')).rejects.toMatchObject({ code: 'unreachable' })
    expect(connection.state.value).toBe('offline')
    answer = () => new Response('<html>')
    await expect(connection.get('/mesh/v1/self')).rejects.toMatchObject({ code: 'protocol' })
    answer = () => new Response(null, { status: 204 })
    expect(await connection.send('DELETE', '/mesh/v1/keys/a')).toBeUndefined()
    expect(connection.state.value).toBe('online')
  })
})

/** Streams of events that the test writes. */
function eventPage() {
  const streams: { readonly asked: Asked; readonly write: (text: string) => void; readonly end: () => void }[] = []
  const encoder = new TextEncoder()
  const given = page((asked) => {
    if (asked.path !== '/mesh/v1/events') return models()
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        streams.push({
          asked,
          write: (text) => controller.enqueue(encoder.encode(text)),
          end: () => controller.close(),
        })
        asked.signal?.addEventListener('abort', () => controller.error(asked.signal!.reason))
      },
    })
    return new Response(body)
  })
  return { ...given, streams }
}

const line = (id: string, event: object) => `id: ${id}\ndata: ${JSON.stringify(event)}\n\n`

describe('events', () => {
  it('come by one stream to all who asked for their type or family, and all are told of missed ones', async () => {
    const { streams, make } = eventPage()
    const connection = make()
    const seen: string[] = []
    const note = (name: string) => (event: MeshEventView) => void seen.push(`${name} ${event.type}`)
    connection.events.subscribe(['task'], note('a'))
    const end = connection.events.subscribe(['node.lost', 'task.ended'], note('b'))
    await settle()
    expect(streams).toHaveLength(1)
    streams[0]!.write(line('1', { type: 'task.started', atMs: 5 }) + line('2', { type: 'task.ended', atMs: 6 }))
    streams[0]!.write(line('3', { type: 'taskless.x', atMs: 6 }) + line('4', { type: 'events.missed', atMs: 7 }))
    streams[0]!.write('data: no json\n\n' + line('5', ['no event']) + line('6', { type: 'node.lost', atMs: 8 }))
    await settle()
    expect(seen).toEqual([
      ...['a task.started', 'a task.ended', 'b task.ended', 'a events.missed', 'b events.missed', 'b node.lost'],
    ])
    end()
    streams[0]!.write(line('7', { type: 'node.lost', atMs: 9 }))
    await settle()
    expect(seen).toHaveLength(6)
  })

  it('go on behind a break where they were, rest while nobody sees the page, and begin anew with another key', async () => {
    const { streams, clock, make } = eventPage()
    const connection = make()
    const seen: string[] = []
    connection.events.subscribe(['node'], ({ type }) => void seen.push(type))
    await settle()
    streams[0]!.write(line('41', { type: 'node.joined', atMs: 1 }))
    await settle()
    streams[0]!.end()
    await clock.move(1000)
    expect(streams[1]!.asked.headers.get('last-event-id')).toBe('41')
    connection.setVisible(false)
    await settle()
    expect(streams[1]!.asked.signal!.aborted).toBe(true)
    await clock.move(60_000)
    expect(streams).toHaveLength(2)
    connection.setVisible(true)
    await settle()
    expect(streams[2]!.asked.headers.get('last-event-id')).toBe('41')
    await connection.useKey('other')
    await settle()
    expect(streams[2]!.asked.signal!.aborted).toBe(true)
    expect(streams[3]!.asked.headers.get('last-event-id')).toBeNull()
    expect(seen).toEqual(['node.joined'])
  })

  it('are not asked for by a page where nobody listens', async () => {
    const { streams, clock, make } = eventPage()
    const connection = make()
    const end = connection.events.subscribe(['node'], () => {})
    await settle()
    end()
    await clock.move(60_000)
    expect(streams).toHaveLength(1)
    expect(streams[0]!.asked.signal!.aborted).toBe(true)
    expect(clock.waiting).toBe(0)
  })
})
