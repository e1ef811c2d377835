/** Mailboxes over HTTP, with their database: who may have what, what is kept, and what there is room for. */
import { randomBytes } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { Gateway } from '../../coordinator/gateway/index.ts'
import { MAILBOX_BOUNDS, Mailboxes, type MailboxBounds } from '../../coordinator/mailbox/index.ts'
import { LIMITS } from '../../mesh/protocol/index.ts'
import { silentLogger, SystemClock, SystemRandom } from '../../mesh/runtime/index.ts'
import { startGateway } from './gateway.harness.ts'

const BOX = '0123456789abcdef0123456789abcdef'
const TOKEN = 'ab'.repeat(32)
const PHONE = '1111111111111111'
const DESK = '2222222222222222'

interface Answer {
  readonly status: number
  readonly body: Record<string, never> & { readonly error?: { readonly code: string; readonly param?: string } }
}

describe('mailboxes', () => {
  let folder: string
  let gateway: Gateway
  let mailboxes: Mailboxes

  const start = async (bounds: Partial<MailboxBounds> = {}, clock = new SystemClock()): Promise<void> => {
    mailboxes = new Mailboxes(
      { clock, random: new SystemRandom(), log: silentLogger },
      { path: join(folder, 'mailboxes.db'), bounds: { ...MAILBOX_BOUNDS, ...bounds } },
    )
    await mailboxes.start()
    gateway = (await startGateway({ mailboxes })).gateway
  }
  const stop = async (): Promise<void> => {
    await gateway.stop()
    await mailboxes.stop()
  }
  const ask = async (method: string, path: string, body?: unknown, token = TOKEN): Promise<Answer> => {
    const response = await fetch(`${gateway.url}/mesh/v1/sync/${path}`, {
      method,
      headers: { 'x-skein-mailbox-token': token, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, body: text === '' ? {} : JSON.parse(text) } as Answer
  }
  const append = (device: string, seq: number, data = 'c2VhbGVk', box = BOX): Promise<Answer> =>
    ask('POST', `${box}/entries`, { device, seq, data })
  const codeOf = ({ status, body }: Answer): [number, string | undefined] => [status, body.error?.code]

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skein-mailboxes-'))
  })
  afterEach(async () => {
    await stop()
    await rm(folder, { recursive: true })
  })

  it('are nothing on the disk before one is made', async () => {
    await start()
    expect(await readdir(folder)).toEqual([])
  })

  it('are made once, and found with the same token alone', async () => {
    await start()
    const made = await ask('PUT', BOX)
    expect(made).toMatchObject({
      status: 201,
      body: { mailbox: BOX, first: 1, last: 0, bytes: 0, bytesMax: LIMITS.syncMailboxBytesMax },
    })
    expect(made.body['generation']).toMatch(/^[0-9a-f]{16}$/)
    expect(await ask('PUT', BOX, {})).toMatchObject({ status: 200, body: { ...made.body } })
    const other = 'cd'.repeat(32)
    const unknown = 'f'.repeat(32)
    const refused = [404, 'sync_mailbox_not_found']
    expect(codeOf(await ask('PUT', BOX, undefined, other))).toEqual(refused)
    expect(codeOf(await ask('GET', `${BOX}/entries`, undefined, other))).toEqual(refused)
    expect(codeOf(await ask('POST', `${BOX}/trim`, { through: 0 }, other))).toEqual(refused)
    expect(codeOf(await ask('DELETE', BOX, undefined, other))).toEqual(refused)
    const [wrong, missing] = [
      await ask('GET', `${BOX}/entries`, undefined, other),
      await ask('GET', `${unknown}/entries`),
    ]
    expect(wrong.body.error).toEqual(missing.body.error)
  })

  it('give entries back in their order, from a place on, and after a restart', async () => {
    await start()
    const { generation } = (await ask('PUT', BOX)).body
    expect(await append(PHONE, 1)).toMatchObject({ status: 201, body: { index: 1, last: 1, bytes: 6 } })
    await append(DESK, 7, 'AAAA')
    await append(PHONE, 3, '-_-_')
    await stop()
    await start()
    const page = await ask('GET', `${BOX}/entries?after=1&limit=1`)
    expect(page.body).toEqual({
      ...{ generation, first: 1, last: 3 },
      entries: [{ index: 2, device: DESK, seq: 7, atMs: expect.any(Number) as number, data: 'AAAA' }],
    })
    expect((await ask('GET', `${BOX}/entries?after=2`)).body['entries']).toMatchObject([{ index: 3, data: '-_-_' }])
    expect((await ask('GET', `${BOX}/entries?after=9`)).body['entries']).toEqual([])
  })

  it('take an entry once, however often it is sent', async () => {
    await start()
    await ask('PUT', BOX)
    await append(PHONE, 1, 'AAAA')
    await append(PHONE, 2, 'BBBB')
    expect(await append(PHONE, 2, 'BBBB')).toMatchObject({ status: 200, body: { index: 2, last: 2 } })
    expect(await append(PHONE, 1, 'AAAA')).toMatchObject({ status: 200, body: { index: 1, last: 2 } })
    expect(codeOf(await append(PHONE, 2, 'CCCC'))).toEqual([409, 'sync_conflict'])
    expect(codeOf(await append(PHONE, 1, 'CCCC'))).toEqual([409, 'sync_conflict'])
    await ask('POST', `${BOX}/trim`, { through: 2 })
    expect(await append(PHONE, 2, 'BBBB')).toMatchObject({ status: 200, body: { index: 2, last: 2 } })
    expect(await append(DESK, 1, 'AAAA')).toMatchObject({ status: 201, body: { index: 3 } })
  })

  it('drop what is trimmed, and never give an index again', async () => {
    await start()
    await ask('PUT', BOX)
    for (const seq of [1, 2, 3]) await append(PHONE, seq)
    expect((await ask('POST', `${BOX}/trim`, { through: 2 })).body).toEqual({ first: 3, last: 3, bytes: 6 })
    expect((await ask('POST', `${BOX}/trim`, { through: 3 })).body).toEqual({ first: 4, last: 3, bytes: 0 })
    expect(codeOf(await ask('POST', `${BOX}/trim`, { through: 4 }))).toEqual([400, 'invalid_request'])
    expect((await append(PHONE, 4)).body).toMatchObject({ index: 4 })
    expect((await ask('GET', `${BOX}/entries`)).body).toMatchObject({ first: 4, entries: [{ index: 4 }] })
  })

  it('are gone when they are deleted, also from the disk, and another when made again', async () => {
    await start()
    const { generation } = (await ask('PUT', BOX)).body
    const secret = randomBytes(3000)
    await append(PHONE, 1, secret.toString('base64url'))
    expect(await ask('DELETE', BOX)).toEqual({ status: 204, body: {} })
    expect(codeOf(await ask('GET', `${BOX}/entries`))).toEqual([404, 'sync_mailbox_not_found'])
    const again = await ask('PUT', BOX)
    expect(again).toMatchObject({ status: 201, body: { last: 0 } })
    expect(again.body['generation']).not.toBe(generation)
    await stop()
    const files = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name))))
    expect(files.some((file) => file.includes(secret.subarray(0, 64)))).toBe(false)
    expect(files.some((file) => file.includes(TOKEN))).toBe(false)
    await start()
  })

  it.each<[string, Partial<MailboxBounds>, () => Promise<Answer>, () => Promise<Answer>]>([
    ['mailboxes', { mailboxesMax: 1 }, () => ask('PUT', BOX), () => ask('PUT', 'e'.repeat(32))],
    ['entries', { entriesMax: 1 }, () => append(PHONE, 1), () => append(PHONE, 2)],
    ['bytes of a mailbox', { mailboxBytesMax: 6 }, () => append(PHONE, 1), () => append(PHONE, 2, 'AA')],
    ['bytes in all', { bytesMax: 6 }, () => append(PHONE, 1), () => append(PHONE, 2, 'AA')],
    ['devices', { devicesMax: 1 }, () => append(PHONE, 1), () => append(DESK, 1)],
  ])('have room for so many %s', async (_name, bounds, fits, isTooMuch) => {
    await start(bounds)
    await ask('PUT', BOX)
    expect((await fits()).status).toBeLessThan(300)
    expect(codeOf(await isTooMuch())).toEqual([507, 'sync_full'])
  })

  it('send no more in one answer than fits, and one entry at least', async () => {
    await start({ pageBytesMax: 10 })
    await ask('PUT', BOX)
    await append(PHONE, 1, 'A'.repeat(40))
    await append(PHONE, 2, 'A'.repeat(8))
    await append(PHONE, 3, 'A'.repeat(4))
    const indexes = async (after: number): Promise<number[]> => {
      const { entries } = (await ask('GET', `${BOX}/entries?after=${after}`)).body as unknown as {
        entries: { index: number }[]
      }
      return entries.map(({ index }) => index)
    }
    expect(await indexes(0)).toEqual([1])
    expect(await indexes(1)).toEqual([2, 3])
  })

  it('take the longest entry, and none that is longer', async () => {
    await start()
    await ask('PUT', BOX)
    const longest = randomBytes(LIMITS.syncEntryBytesMax)
    const data = longest.toString('base64url')
    expect((await append(PHONE, 1, data)).status).toBe(201)
    expect((await ask('GET', `${BOX}/entries`)).body['entries']).toMatchObject([{ data }])
    expect((await append(PHONE, 2, `${data}AA`)).status).toBe(400)
    expect((await append(PHONE, 2, 'A'.repeat(400_000))).status).toBe(413)
  })

  it.each([
    ['a name in capitals', 'PUT', BOX.toUpperCase(), undefined],
    ['a short name', 'PUT', 'abc', undefined],
    ['no device', 'POST', `${BOX}/entries`, { seq: 1, data: 'AAAA' }],
    ['a device of another form', 'POST', `${BOX}/entries`, { device: 'phone', seq: 1, data: 'AAAA' }],
    ['a number that is none', 'POST', `${BOX}/entries`, { device: PHONE, seq: 0, data: 'AAAA' }],
    ['a number that is too high', 'POST', `${BOX}/entries`, { device: PHONE, seq: 2 ** 53, data: 'AAAA' }],
    ['data with padding', 'POST', `${BOX}/entries`, { device: PHONE, seq: 1, data: 'AA==' }],
    ['data that no bytes have', 'POST', `${BOX}/entries`, { device: PHONE, seq: 1, data: 'AAAAA' }],
    ['data with bits beyond its bytes', 'POST', `${BOX}/entries`, { device: PHONE, seq: 1, data: 'AB' }],
    ['no data', 'POST', `${BOX}/entries`, { device: PHONE, seq: 1, data: '' }],
    ['a member too many', 'POST', `${BOX}/entries`, { device: PHONE, seq: 1, data: 'AAAA', atMs: 1 }],
    ['a limit of nothing', 'GET', `${BOX}/entries?limit=0`, undefined],
    ['a limit that is too high', 'GET', `${BOX}/entries?limit=101`, undefined],
    ['a place before all', 'GET', `${BOX}/entries?after=-1`, undefined],
    ['a wait that is too long', 'GET', `${BOX}/entries?waitMs=25001`, undefined],
    ['a trim of nothing known', 'POST', `${BOX}/trim`, { through: '1' }],
  ])('refuse %s', async (_name, method, path, body) => {
    await start()
    await ask('PUT', BOX)
    expect(codeOf(await ask(method, path, body))).toEqual([400, 'invalid_request'])
    expect((await ask('GET', `${BOX}/entries`)).body).toMatchObject({ last: 0 })
  })

  it.each(['', 'ab', 'AB'.repeat(32), `${TOKEN}0`])('refuse the token %j', async (token) => {
    await start()
    const { status, body } = await ask('PUT', BOX, undefined, token)
    expect([status, body.error?.param]).toEqual([400, 'x-skein-mailbox-token'])
  })

  it('tell a reader who waits as soon as something comes', async () => {
    await start()
    await ask('PUT', BOX)
    await append(PHONE, 1)
    const waiting = ask('GET', `${BOX}/entries?after=1&waitMs=25000`)
    // the reader listens: what is appended before that is found at once, which is as good
    await append(DESK, 1, 'AAAA')
    expect((await waiting).body['entries']).toMatchObject([{ index: 2, device: DESK }])
    expect((await ask('GET', `${BOX}/entries?after=1&waitMs=25000`)).body['entries']).toMatchObject([{ index: 2 }])
  })

  it('let a reader go when the time is up, and when the coordinator stops', async () => {
    await start()
    await ask('PUT', BOX)
    expect((await ask('GET', `${BOX}/entries?waitMs=1`)).body['entries']).toEqual([])
    const key = { mailbox: BOX, token: TOKEN }
    const query = { after: 0, limit: 1, waitMs: 25_000, signal: new AbortController().signal }
    const waiting = expect(mailboxes.read(key, query)).rejects.toMatchObject({ code: 'SHUTTING_DOWN' })
    // it has looked and found nothing once this one, which asked behind it, is answered
    await ask('GET', `${BOX}/entries`)
    mailboxes.rest()
    await waiting
    const left = new AbortController()
    left.abort()
    expect((await mailboxes.read(key, { ...query, signal: left.signal })).entries).toEqual([])
  })

  it('are dropped when nobody has used them for long', async () => {
    await start()
    await ask('PUT', BOX)
    await ask('PUT', 'e'.repeat(32))
    await stop()
    const later = new LaterClock(LIMITS.syncUnusedMs - 60_000)
    await start({}, later)
    expect((await ask('PUT', BOX)).status).toBe(200)
    await stop()
    await start({}, new LaterClock(LIMITS.syncUnusedMs + 60_000))
    expect((await ask('PUT', 'e'.repeat(32))).status).toBe(201)
    expect((await ask('PUT', BOX)).status).toBe(200)
  })

  it('say that their file is none', async () => {
    await writeFile(join(folder, 'mailboxes.db'), 'no database, and long enough to be taken for one'.repeat(100))
    await start()
    expect(codeOf(await ask('PUT', BOX))).toEqual([500, 'ledger_corrupt'])
  })
})

class LaterClock extends SystemClock {
  readonly #byMs: number
  constructor(byMs: number) {
    super()
    this.#byMs = byMs
  }
  override wallMs(): number {
    return super.wallMs() + this.#byMs
  }
}
