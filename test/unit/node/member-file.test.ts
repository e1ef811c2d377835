/** One model at several members, each of which behaves as a test says: who is asked, who is believed, who is dropped. */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { asModelDigest, asPeerId, LIMITS, SkeinError, type PeerId } from '../../../mesh/protocol/index.ts'
import { ManualClock, sleep } from '../../../mesh/runtime/index.ts'
import { MemberFile, type MemberEvent } from '../../../node/models/store/member-file.ts'
import type { Holder, MemberOffer, Members } from '../../../node/models/store/members.ts'
import type { RemoteFile } from '../../../node/models/store/source.ts'
import { until } from './support.ts'

const CHUNK = LIMITS.modelChunkBytes
const CHUNKS = 6
const SIZE = (CHUNKS - 1) * CHUNK + 1000
const bytes = Buffer.alloc(SIZE)
for (let chunk = 0; chunk < CHUNKS; chunk++) bytes.fill(chunk + 1, chunk * CHUNK)
const digest = asModelDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`)
const never = new AbortController().signal

const chunkOf = (chunk: number): Buffer => bytes.subarray(chunk * CHUNK, (chunk + 1) * CHUNK)
const hash = (of: Uint8Array): Buffer => createHash('sha256').update(of).digest()

interface Behaviour {
  /** Time for a chunk, in ms. */
  readonly takesMs?: number
  readonly hashOf?: (chunk: number) => Uint8Array
  readonly give?: (chunk: number) => Uint8Array
}

class FakeMembers implements Members {
  readonly clock = new ManualClock()
  readonly events: MemberEvent[] = []
  readonly given = new Map<string, number[]>()
  readonly closed: string[] = []
  readonly behaviours: Map<string, Behaviour>
  finds = 0

  constructor(behaviours: Record<string, Behaviour>) {
    this.behaviours = new Map(Object.entries(behaviours))
  }

  get offers(): MemberOffer[] {
    return [...this.behaviours.keys()].map((member) => ({
      peerId: peer(member),
      member,
      digest,
      name: 'm',
      sizeBytes: SIZE,
      quantization: 'Q8_0',
    }))
  }

  find(): Promise<readonly MemberOffer[]> {
    this.finds++
    return Promise.resolve(this.offers)
  }

  holder({ member, peerId }: MemberOffer): Holder {
    const behaviour = (): Behaviour => {
      const found = this.behaviours.get(member)
      if (found === undefined) throw new SkeinError('MODEL_PULL_FAILED', `${member} has left`)
      return found
    }
    return {
      member,
      peerId,
      hashes: async (from) => {
        const { hashOf = (chunk: number) => hash(chunkOf(chunk)) } = behaviour()
        return Array.from({ length: CHUNKS - from }, (_, i) => hashOf(from + i))
      },
      read: async (chunk, into, signal) => {
        const { takesMs = 1, give = chunkOf } = behaviour()
        await sleep(this.clock, takesMs, signal)
        behaviour()
        this.given.set(member, [...(this.given.get(member) ?? []), chunk])
        const bytes = give(chunk)
        into.set(bytes.subarray(0, into.length))
        return bytes.length
      },
      close: () => void this.closed.push(member),
    }
  }

  file(init: { fallback?: RemoteFile; liars?: Set<PeerId> } = {}): MemberFile {
    const { clock, offers } = this
    const onEvent = (event: MemberEvent): void => void this.events.push(event)
    const hashing = { digest: (of: Uint8Array) => Promise.resolve(hash(of)) }
    return new MemberFile({ members: this, clock, hashing, offers, liars: new Set(), onEvent, ...init })
  }

  /** Reads all chunks on `connections` at once, as a pull does. */
  async readAll(file: MemberFile, connections = 4): Promise<Buffer> {
    const out = Buffer.alloc(SIZE)
    let next = 0
    const connection = async (): Promise<void> => {
      while (next < CHUNKS) {
        const start = CHUNK * next++
        let at = start
        for await (const part of file.read({ start, end: Math.min(SIZE, start + CHUNK) }, never)) {
          out.set(part, at)
          at += part.length
        }
      }
    }
    const all = Promise.all(Array.from({ length: connections }, connection))
    let isDone = false
    all.then(
      () => (isDone = true),
      () => (isDone = true),
    )
    await until('all is read', () => isDone, { clock: this.clock, stepMs: 5 })
    await all
    return out
  }

  dropped(): string[] {
    return this.events.flatMap((event) => (event.event === 'dropped' ? [event.member] : []))
  }

  shares(): Record<string, number> {
    const event = this.events.find((each) => each.event === 'shares')
    return Object.fromEntries(event?.event === 'shares' ? event.shares.map((each) => [each.member, each.bytes]) : [])
  }
}

const peer = (member: string): PeerId => asPeerId(`12D3KooW${member.padEnd(44, 'x')}`)
const spoilt = (chunk: number): Buffer => Buffer.from(chunkOf(chunk)).fill(0, 10, 11)
const count = (members: FakeMembers, member: string): number => members.given.get(member)?.length ?? 0

describe('a file at several members', () => {
  it('gives the next chunk to whoever would have it first', async () => {
    const members = new FakeMembers({ fast: { takesMs: 10 }, slow: { takesMs: 45 } })
    const file = members.file()
    expect((await members.readAll(file, 2)).equals(bytes)).toBe(true)
    file.finished()
    expect(count(members, 'fast')).toBeGreaterThan(count(members, 'slow'))
    expect(count(members, 'fast') + count(members, 'slow')).toBe(CHUNKS)
    expect(Object.values(members.shares()).reduce((sum, each) => sum + each, 0)).toBe(SIZE)
    expect(members.dropped()).toEqual([])
  })

  it('takes a chunk away from a member that is far slower than another', async () => {
    const members = new FakeMembers({ fast: { takesMs: 5 }, stuck: { takesMs: 3_600_000 } })
    const beganMs = members.clock.nowMs()
    // its own first chunk must not keep the fast one from being known
    expect((await members.readAll(members.file(), 3)).equals(bytes)).toBe(true)
    expect(members.clock.nowMs() - beganMs).toBeLessThan(60_000)
    expect(count(members, 'stuck')).toBe(0)
  })

  it('drops and names a member whose bytes are not what it said they are, and goes on with the others', async () => {
    const members = new FakeMembers({
      liar: { give: (chunk) => (chunk === 2 ? spoilt(2) : chunkOf(chunk)) },
      honest: { takesMs: 20 },
    })
    const liars = new Set<PeerId>()
    const file = members.file({ liars })
    expect((await members.readAll(file, 1)).equals(bytes)).toBe(true)
    expect(members.dropped()).toEqual(['liar'])
    expect(members.closed).toEqual(['liar'])
    expect([...liars]).toEqual([peer('liar')])
    expect(members.given.get('honest')).toContain(2)
  })

  it('drops a member that gives fewer bytes than a chunk has', async () => {
    const members = new FakeMembers({ short: { give: (chunk) => chunkOf(chunk).subarray(1) }, honest: { takesMs: 20 } })
    expect((await members.readAll(members.file())).equals(bytes)).toBe(true)
    expect(members.dropped()).toEqual(['short'])
  })

  it('sets aside who names other hashes than the first, and drops it when the digest has decided', async () => {
    const members = new FakeMembers({
      first: {},
      other: { takesMs: 1, hashOf: (chunk) => hash(spoilt(chunk)), give: spoilt },
    })
    const file = members.file()
    expect((await members.readAll(file)).equals(bytes)).toBe(true)
    expect([members.dropped(), count(members, 'other')]).toEqual([[], 0])
    file.finished()
    expect(members.dropped()).toEqual(['other'])
    expect(members.shares()).toEqual({ first: SIZE })
  })

  it('drops the first when the digest says that it lied, and says whether others said otherwise', async () => {
    const liar: Behaviour = { hashOf: (chunk) => hash(spoilt(chunk)), give: spoilt }
    const members = new FakeMembers({ first: liar, other: {} })
    const file = members.file()
    expect((await members.readAll(file)).equals(bytes)).toBe(false)
    expect(await file.mismatched(never)).toBe(true)
    expect(members.dropped()).toEqual(['first'])
    const alone = new FakeMembers({ first: liar })
    const only = alone.file()
    await alone.readAll(only)
    expect([await only.mismatched(never), alone.dropped()]).toEqual([false, ['first']])
  })

  it('goes on when a member leaves in the middle, and looks for others when none is left', async () => {
    const members = new FakeMembers({ leaving: { takesMs: 5 }, staying: { takesMs: 6 } })
    const give = (chunk: number): Buffer => {
      if (chunk === 3) members.behaviours.delete('leaving')
      return chunkOf(chunk)
    }
    members.behaviours.set('staying', { takesMs: 6, give })
    members.behaviours.set('leaving', { takesMs: 5, give })
    expect((await members.readAll(members.file(), 2)).equals(bytes)).toBe(true)

    const gone = new FakeMembers({ one: {} })
    const file = gone.file()
    gone.behaviours.delete('one')
    const read = (): Promise<unknown> => file.read({ start: 0, end: 10 }, never).next()
    await expect(read()).rejects.toMatchObject({ code: 'MODEL_PULL_FAILED' })
    expect(gone.finds).toBe(0)
    gone.behaviours.set('two', {})
    await gone.clock.advance(5000)
    const result = read()
    await until('it looks', () => gone.finds > 0)
    await until('the new one is asked', () => count(gone, 'two') > 0, { clock: gone.clock, stepMs: 1 })
    expect(await result).toEqual({ done: false, value: chunkOf(0).subarray(0, 10) })
  })

  it('goes on at the fallback when no member is left', async () => {
    const members = new FakeMembers({ one: {} })
    const asked: object[] = []
    const fallback = {
      read: async function* (range: { start: number; end: number }) {
        asked.push(range)
        yield bytes.subarray(range.start, range.end)
      },
    } as unknown as RemoteFile
    const file = members.file({ fallback })
    members.behaviours.clear()
    const parts: Uint8Array[] = []
    for await (const part of file.read({ start: 5, end: CHUNK + 9 }, never)) parts.push(part)
    expect(Buffer.concat(parts).equals(bytes.subarray(5, CHUNK + 9))).toBe(true)
    expect(asked).toEqual([{ start: 5, end: CHUNK + 9 }])
    expect(await file.mismatched(never)).toBe(true)
  })

  it('does not blame a member that has too much to do', async () => {
    const members = new FakeMembers({ one: {} })
    const file = members.file()
    let asked = 0
    members.behaviours.set('one', {
      give: () => {
        asked++
        throw new SkeinError('MODEL_PULL_FAILED', 'come back', { retryAfterSeconds: 1 })
      },
    })
    for (let tries = 0; tries < 6; tries++) {
      const read = file.read({ start: 0, end: 1 }, never).next()
      const settled = read.then(
        () => undefined,
        (thrown: unknown) => thrown,
      )
      await members.clock.advance(5)
      for (let turns = 0; turns < 50; turns++) await members.clock.advance(1)
      const told = (await settled) as SkeinError
      expect([told.code, told.message]).toEqual(['MODEL_PULL_FAILED', 'come back'])
      expect(told.retryAfterSeconds).toBeCloseTo(1 - tries * 0.055, 1)
    }
    expect(asked).toBe(1)
    await members.clock.advance(1000)
    members.behaviours.set('one', {})
    expect((await members.readAll(file)).equals(bytes)).toBe(true)
  })
})
