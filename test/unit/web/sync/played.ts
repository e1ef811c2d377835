/** A mailbox as the coordinator's, in memory, with a hand in it: it can lose, repeat and hide. */
import type { SyncReply, SyncRequest } from '../../../../clients/web/sync/mailbox.ts'

interface PlayedEntry {
  index: number
  device: string
  seq: number
  atMs: number
  data: string
}

interface Box {
  token: string
  generation: string
  last: number
  entries: PlayedEntry[]
  heads: Map<string, { seq: number; data: string; index: number }>
}

const notFound: SyncReply = {
  status: 404,
  body: { error: { code: 'sync_mailbox_not_found', message: 'no such mailbox' } },
}
const reply = (body: unknown, status = 200): SyncReply => ({ status, body })

export class PlayedMailboxes {
  readonly boxes = new Map<string, Box>()
  readonly asked: string[] = []
  /** Of the next requests, how many fail before, and how many after they were done. */
  failBefore = 0
  failAfter = 0
  bytesMax = Infinity
  #generations = 0

  readonly request: SyncRequest = async (method, path, headers, body) => {
    this.asked.push(`${method} ${path}`)
    if (this.failBefore-- > 0) throw new TypeError('fetch failed')
    const answer = this.#answer(
      method,
      path,
      headers['x-skein-mailbox-token']!,
      JSON.parse(JSON.stringify(body ?? null)),
    )
    if (this.failAfter-- > 0) throw new TypeError('fetch failed')
    return Promise.resolve(JSON.parse(JSON.stringify(answer)) as SyncReply)
  }

  #answer(method: string, path: string, token: string, body: unknown): SyncReply {
    const url = new URL(path, 'http://mailbox')
    const [, , , , id, what] = url.pathname.split('/') as [string, string, string, string, string, string | undefined]
    if (method === 'PUT') return this.#open(id, token)
    const box = this.boxes.get(id)
    if (box === undefined || box.token !== token) return notFound
    if (method === 'DELETE') {
      this.boxes.delete(id)
      return { status: 204, body: undefined }
    }
    if (what === 'trim') {
      const { through } = body as { through: number }
      box.entries = box.entries.filter(({ index }) => index > through)
      return reply(stateOf(box))
    }
    return method === 'POST' ? this.#append(box, body as PlayedEntry) : read(box, url.searchParams)
  }

  #open(id: string, token: string): SyncReply {
    let box = this.boxes.get(id)
    if (box === undefined) {
      box = { token, generation: `generation ${++this.#generations}`, last: 0, entries: [], heads: new Map() }
      this.boxes.set(id, box)
    }
    return box.token === token ? reply(stateOf(box)) : notFound
  }

  #append(box: Box, { device, seq, data }: PlayedEntry): SyncReply {
    const head = box.heads.get(device)
    if (head !== undefined && seq <= head.seq) {
      const same = seq === head.seq && data === head.data
      return same ? reply({ ...stateOf(box), index: head.index }) : reply({ error: { message: 'not yours' } }, 409)
    }
    if (stateOf(box).bytes + data.length > this.bytesMax) return reply({ error: { message: 'no room' } }, 507)
    const index = ++box.last
    box.heads.set(device, { seq, data, index })
    box.entries.push({ index, device, seq, atMs: 0, data })
    return reply({ ...stateOf(box), index }, 201)
  }
}

const stateOf = ({ generation, last, entries }: Box) => ({
  ...{ generation, last, first: entries[0]?.index ?? last + 1 },
  bytes: entries.reduce((sum, { data }) => sum + data.length, 0),
})

function read(box: Box, query: URLSearchParams): SyncReply {
  const after = Number(query.get('after'))
  const entries = box.entries.filter(({ index }) => index > after).slice(0, Number(query.get('limit')))
  return reply({ ...stateOf(box), entries })
}
