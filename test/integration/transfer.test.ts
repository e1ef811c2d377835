/** Models between members, over real hosts: what arrives, whom it came from, and what is refused. */
import { readFile } from 'node:fs/promises'
import type { IncomingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { describe, expect, it } from 'vitest'
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'
import { SystemClock, type Clock } from '../../mesh/runtime/index.ts'
import { pemOf } from '../../node/models/share/pem.ts'
import { DirectPath } from '../../node/models/share/direct-path.ts'
import type { PullEvent } from '../../node/models/store/index.ts'
import { after, inviteOf, until } from './network.harness.ts'
import { modelBytes, QuotaDisk } from './pull.harness.ts'
import { HubDouble } from './pull.hub.ts'
import { clock, digestOf, MIB, startPuller, startSharer, type Puller, type Sharer } from './transfer.harness.ts'

const bytes = modelBytes(24 * MIB + 12_345)
const digest = digestOf(bytes)
const never = new AbortController().signal
const FILE = { name: 'm-Q8_0', bytes }

const of = <E extends PullEvent['event']>(puller: Puller, event: E): Extract<PullEvent, { event: E }>[] =>
  puller.events.filter((each): each is Extract<PullEvent, { event: E }> => each.event === event)

const sent = ({ share }: Sharer): number => share.sentBytes.direct + share.sentBytes.stream

/** Two that have it, and one that has not. */
async function house(): Promise<{ one: Sharer; two: Sharer; puller: Puller }> {
  const one = await startSharer('one', { files: [FILE] })
  const two = await startSharer('two', { files: [FILE], invite: await inviteOf(one.host) })
  return { one, two, puller: await startPuller([one, two]) }
}

describe('a model that members have', () => {
  it('comes from both at once by its name, each chunk once', async () => {
    const { one, two, puller } = await house()
    const { how, model } = await puller.pull('M-q8_0')
    expect([how, model.name, model.digest, model.references]).toEqual(['pulled', 'm-Q8_0', digest, ['M-q8_0']])
    expect(of(puller, 'located')[0]).toMatchObject({
      sizeBytes: bytes.length,
      members: expect.arrayContaining(['one', 'two']) as unknown,
    })
    expect(sent(one) + sent(two)).toBe(bytes.length)
    expect(Math.min(sent(one), sent(two))).toBeGreaterThanOrEqual(LIMITS.modelChunkBytes)
    expect([one.share.sentBytes.stream, two.share.sentBytes.stream]).toEqual([0, 0])
    const [{ shares }] = of(puller, 'shares') as [Extract<PullEvent, { event: 'shares' }>]
    expect(Object.fromEntries(shares.map((each) => [each.member, each.bytes]))).toEqual({
      one: sent(one),
      two: sent(two),
    })
    expect((await puller.pull(digest)).how).toBe('present')
  })

  it('comes from the other member when the owner of one is using the machine', async () => {
    const { one, two, puller } = await house()
    one.refusal = 'in use'
    expect((await puller.pull('m-Q8_0')).how).toBe('pulled')
    expect([sent(one), sent(two)]).toEqual([0, bytes.length])
  })

  it('waits, and says why, while the owner of the only one wants nothing given', async () => {
    const one = await startSharer('one', { files: [FILE], isHidden: true })
    const puller = await startPuller([one])
    one.refusal = 'in use'
    const stop = new AbortController()
    const pulling = puller.pull(digest, { signal: stop.signal })
    await until(() => of(puller, 'retrying').length > 0)
    expect(of(puller, 'retrying')[0]!.reason).toContain('no model is given now: in use')
    stop.abort(new SkeinError('CLIENT_CLOSED', 'enough'))
    await expect(pulling).rejects.toMatchObject({ code: 'CLIENT_CLOSED' })
    expect(sent(one)).toBe(0)
  })

  it('comes over the streams of the mesh where there is no direct path', async () => {
    const one = await startSharer('one', { files: [FILE], isHidden: true })
    const puller = await startPuller([one])
    expect((await puller.pull(digest)).model.name).toBe('m-Q8_0')
    expect(one.share.sentBytes).toEqual({ direct: 0, stream: bytes.length })
  })

  it('is what it should be though a member has another under its digest, whoever is asked first', async () => {
    const spoilt = Buffer.from(bytes)
    spoilt[9 * MIB]! ^= 1
    for (const [first, second] of [
      [{ ...FILE, bytes: spoilt, digest }, FILE],
      [FILE, { ...FILE, bytes: spoilt, digest }],
    ] as const) {
      const one = await startSharer('one', { files: [first] })
      const two = await startSharer('two', { files: [second], invite: await inviteOf(one.host) })
      const puller = await startPuller([one, two])
      const { model } = await puller.pull('m-Q8_0')
      expect((await readFile(model.path)).equals(bytes)).toBe(true)
      expect(of(puller, 'dropped').map(({ member }) => member)).toEqual([first === FILE ? 'two' : 'one'])
    }
  })

  it('is thrown away when the only member that has it has another', async () => {
    const one = await startSharer('one', { files: [{ ...FILE, bytes: modelBytes(5 * MIB, 2), digest }] })
    const puller = await startPuller([one])
    await expect(puller.pull('m-Q8_0')).rejects.toMatchObject({ code: 'MODEL_DIGEST_MISMATCH' })
    expect(of(puller, 'dropped').map(({ member }) => member)).toEqual(['one'])
    expect([await puller.store.list(), await puller.store.unfinished()]).toEqual([[], []])
  })

  it('comes whole though a member leaves in the middle', async () => {
    const { one, two, puller } = await house()
    const pulling = puller.pull('m-Q8_0')
    const watching = setInterval(() => {
      if (of(puller, 'progress').length === 0) return
      clearInterval(watching)
      void two.share.stop().then(() => two.host.stop())
    }, 1)
    const { model } = await pulling
    expect((await readFile(model.path)).equals(bytes)).toBe(true)
    expect(sent(one)).toBeGreaterThan(bytes.length / 2)
  })

  it('goes on where a full disk ended it, and asks for the missing chunks alone', async () => {
    const { one, two, puller } = await house()
    const disk = new QuotaDisk(12 * MIB)
    await expect(puller.pull('m-Q8_0', { disk })).rejects.toMatchObject({ code: 'DISK_FULL' })
    const [part] = await puller.store.unfinished()
    expect(part!.doneBytes).toBeGreaterThanOrEqual(4 * MIB)
    const before = sent(one) + sent(two)
    const { model } = await puller.pull('m-Q8_0')
    expect(sent(one) + sent(two) - before).toBe(bytes.length - part!.doneBytes)
    expect((await readFile(model.path)).equals(bytes)).toBe(true)
  })

  it('is asked for by digest where members have several of one name', async () => {
    const other = { ...FILE, bytes: modelBytes(MIB, 5) }
    const one = await startSharer('one', { files: [FILE] })
    const two = await startSharer('two', { files: [other], invite: await inviteOf(one.host) })
    const puller = await startPuller([one, two])
    await expect(puller.pull('m-Q8_0')).rejects.toMatchObject({
      code: 'MODEL_REFERENCE_INVALID',
      message: expect.stringMatching(/ at (?:one.* at two|two.* at one)/) as unknown,
    })
    expect((await puller.pull(digestOf(other.bytes))).model.digest).toBe(digestOf(other.bytes))
    await expect(puller.pull('unheard-of')).rejects.toMatchObject({ code: 'MODEL_NOT_STORED' })
  })
})

describe('a model of a hub that a member has', () => {
  it('comes from the house, and from the hub when the house is empty', async () => {
    const hub = await HubDouble.start()
    after(() => hub.stop())
    hub.addModel('owner/model-GGUF', 'm-Q8_0.gguf', bytes)
    const { one, two, puller } = await house()
    const { model } = await puller.pull('hf:owner/model-GGUF', { hub: hub.endpoint })
    expect([model.references, model.source.startsWith('hf:owner/model-GGUF:m-Q8_0.gguf@')]).toEqual([
      ['hf:owner/model-GGUF'],
      true,
    ])
    expect(sent(one) + sent(two)).toBe(bytes.length)
    const elsewhere = modelBytes(5 * MIB, 9)
    hub.addModel('owner/other-GGUF', 'o-Q8_0.gguf', elsewhere)
    expect((await puller.pull('hf:owner/other-GGUF', { hub: hub.endpoint })).model.digest).toBe(digestOf(elsewhere))
    expect(sent(one) + sent(two)).toBe(bytes.length)
  })

  it('comes from the house without any hub, when a member has pulled the same reference', async () => {
    const one = await startSharer('one', { files: [{ ...FILE, references: ['hf:owner/model-GGUF'] }] })
    const puller = await startPuller([one])
    const { model } = await puller.pull('hf:owner/model-GGUF')
    expect([model.digest, model.references]).toEqual([digest, ['hf:owner/model-GGUF']])
    await expect(puller.pull('hf:owner/unknown')).rejects.toMatchObject({ code: 'MODEL_PULL_FAILED' })
  })
})

describe('the door for chunks', () => {
  async function door(init: { clock?: Clock } = {}) {
    const other = { name: 'other', bytes: modelBytes(MIB, 5) }
    const one = await startSharer('one', { files: [FILE, other], ...init })
    const puller = await startPuller([one])
    const peer = one.host.self.peerId
    const grant = await puller.asker.grant(peer, digest, never)
    const direct = grant.direct!
    const get = (init: { path?: string; ticket?: Uint8Array; range?: string; method?: string; bare?: boolean } = {}) =>
      new Promise<{ status: number; body: Buffer; headers: IncomingHttpHeaders }>((resolve, reject) => {
        const { path = `/model/${digest}`, ticket = grant.ticket, method = 'GET', range, bare = false } = init
        const headers = {
          ...(!bare && { authorization: `Bearer ${Buffer.from(ticket).toString('base64url')}` }),
          ...(range !== undefined && { range }),
        }
        const [host] = direct.addresses
        const tls = { ca: pemOf(direct.certificate), checkServerIdentity: () => undefined, agent: false }
        request({ host, port: direct.port, path, method, headers, ...tls }, (response) => {
          const parts: Buffer[] = []
          response.on('data', (part: Buffer) => parts.push(part))
          response.on('end', () =>
            resolve({ status: response.statusCode!, body: Buffer.concat(parts), headers: response.headers }),
          )
        })
          .on('error', reject)
          .end()
      })
    return { one, puller, peer, grant, get, other: digestOf(other.bytes) }
  }

  it('gives ranges to who has a ticket, and tells strangers nothing', async () => {
    const { get, other, grant } = await door()
    const part = await get({ range: 'bytes=5-104' })
    expect([part.status, part.headers['content-range']]).toEqual([206, `bytes 5-104/${bytes.length}`])
    expect(part.body.equals(bytes.subarray(5, 105))).toBe(true)
    const tail = await get({ range: `bytes=${bytes.length - 7}-` })
    expect([tail.status, tail.body.equals(bytes.subarray(-7))]).toEqual([206, true])
    const whole = await get()
    expect([whole.status, whole.body.equals(bytes)]).toEqual([200, true])
    for (const range of [`bytes=${bytes.length}-`, 'bytes=9-5', 'bytes=0-1,4-5', 'items=0-1'])
      expect([range, (await get({ range })).status]).toEqual([range, 416])
    expect((await get({ bare: true })).status).toBe(401)
    expect((await get({ bare: true, path: '/anything' })).status).toBe(401)
    const forged = Uint8Array.from(grant.ticket)
    forged[31]! ^= 1
    expect((await get({ ticket: forged })).status).toBe(401)
    expect((await get({ ticket: forged.subarray(1) })).status).toBe(401)
    expect((await get({ path: `/model/${other}` })).status).toBe(403)
    expect((await get({ path: '/model' })).status).toBe(404)
    expect((await get({ method: 'POST' })).status).toBe(405)
  })

  it('takes no ticket that is over, or whose member is gone, and asks for another one once', async () => {
    const late = new LateClock()
    const { get, puller, one } = await door({ clock: late })
    expect((await get({ range: 'bytes=0-0' })).status).toBe(206)
    late.aheadMs = LIMITS.modelTicketMs
    expect((await get({ range: 'bytes=0-0' })).status).toBe(401)
    // a pull has its own ticket renewed
    const [offer] = await puller.members.find('m-Q8_0', never)
    const holder = puller.members.holder(offer!)
    const read = async (): Promise<boolean> => {
      const into = Buffer.alloc(LIMITS.modelChunkBytes)
      return (await holder.read(0, into, never)) === into.length && into.equals(bytes.subarray(0, into.length))
    }
    expect(await read()).toBe(true)
    late.aheadMs *= 2
    expect(await read()).toBe(true)
    await puller.host.stop()
    await until(() => one.host.members().length === 0)
    expect((await get({ range: 'bytes=0-0' })).status).toBe(401)
    holder.close()
  })

  it('takes on a stream only the tickets of who is behind it', async () => {
    const { one, puller, peer, grant } = await door()
    const stranger = await startPuller([one])
    await expect(stranger.asker.read(peer, grant.ticket, 0, never)).rejects.toMatchObject({
      code: 'MODEL_SOURCE_REFUSED',
      message: 'the ticket was given to another member',
    })
    const own = await puller.asker.read(peer, grant.ticket, 6, never)
    expect(Buffer.from(own).equals(bytes.subarray(24 * MIB))).toBe(true)
    await expect(puller.asker.read(peer, grant.ticket, 7, never)).rejects.toMatchObject({
      code: 'MODEL_SOURCE_REFUSED',
    })
  })

  it('is not taken for another one: a certificate that was not told is refused before the ticket is sent', async () => {
    const { puller, grant } = await door()
    const other = await startSharer('other', { files: [FILE] })
    const elsewhere = await startPuller([other])
    const { direct } = await elsewhere.asker.grant(other.host.self.peerId, digest, never)
    const path = new DirectPath(clock, digest)
    const wrong = { ...grant, direct: { ...grant.direct!, port: direct!.port } }
    expect(await path.read(wrong, 0, Buffer.alloc(10), never)).toBeUndefined()
    expect(other.share.sentBytes.direct).toBe(0)
    path.close()
    expect(puller.events).toEqual([])
  })

  it('keeps to its rate while answers stream', async () => {
    const one = await startSharer('one', { files: [FILE], busyBytesPerSecond: 16 * MIB })
    const puller = await startPuller([one])
    one.isBusy = true
    const beganMs = clock.nowMs()
    await puller.pull('m-Q8_0')
    // hashed once and given once: twice its bytes at 16 MiB in a second
    expect(clock.nowMs() - beganMs).toBeGreaterThan(2500)
  })
})

/** A clock that a test can put ahead. */
class LateClock extends SystemClock {
  aheadMs = 0

  override nowMs(): number {
    return super.nowMs() + this.aheadMs
  }
}
