/** What the local authority vouches for, and when it signs anew. */
import { X509Certificate } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, createServer } from 'node:tls'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AUTHORITY_FILES, createAuthority, LocalTlsSource, readAuthority } from '../../../coordinator/trust/index.ts'
import { makeAuthority, makeLeaf } from '../../../mesh/certificates/certificate.ts'
import { addressBytes, isPermitted, maskBytes, permittedWith } from '../../../mesh/certificates/constraints.ts'
import { ManualClock, SystemRandom } from '../../../mesh/runtime/index.ts'

const DAY_MS = 86_400_000
const random = new SystemRandom()
let clock: ManualClock
let folder: string
let names: string[]
beforeEach(() => {
  clock = new ManualClock()
  folder = mkdtempSync(join(tmpdir(), 'skein-trust-'))
  names = ['localhost', 'desk', 'desk.local', '127.0.0.1']
})
afterEach(() => rmSync(folder, { recursive: true }))

describe('what may be vouched for', () => {
  const permitted = permittedWith(['desk', 'Desk.Example.org', '203.0.113.5', '2001:db8::7', '10.1.1.1'])
  it.each([
    ...['localhost', 'a.localhost', 'desk', 'desk.local', 'x.home.arpa', 'desk.example.org', 'a.desk.example.org'],
    ...['127.0.0.1', '10.255.0.1', '172.31.0.1', '192.168.9.9', '100.127.0.1', '203.0.113.5', '::1', 'fd12::1'],
    ...['fe80::1', '2001:db8::7'],
  ])('%s', (name) => expect(isPermitted(name, permitted)).toBe(true))
  it.each([
    ...['example.org', 'notdesk', 'evillocal', 'local.example.org', 'desk.example.org.evil.com', ''],
    ...['8.8.8.8', '172.32.0.1', '100.128.0.1', '203.0.113.6', '::2', '2001:db8::8', 'ff02::1'],
  ])('not %s', (name) => expect(isPermitted(name, permitted)).toBe(false))

  it('is written in bytes as the network has them', () => {
    expect([...addressBytes('192.168.0.7')]).toEqual([192, 168, 0, 7])
    expect(Buffer.from(addressBytes('2001:db8::7:0')).toString('hex')).toBe('20010db8000000000000000000070000')
    expect([...maskBytes({ address: '172.16.0.0', bits: 12 })]).toEqual([255, 240, 0, 0])
    expect(Buffer.from(maskBytes({ address: 'fc00::', bits: 7 })).toString('hex')).toBe(`fe${'00'.repeat(15)}`)
  })
})

describe('the authority', () => {
  it('is kept, and its key is for its owner alone', async () => {
    expect(await readAuthority(folder)).toBeUndefined()
    const { fingerprint, untilMs } = await createAuthority({ clock, random }, folder, {
      host: 'Desk',
      also: ['desk.example.org'],
    })
    const read = await readAuthority(folder)
    expect(read).toMatchObject({ fingerprint, permitted: { domains: expect.arrayContaining(['desk']) as string[] } })
    expect(untilMs - clock.wallMs()).toBeGreaterThan(3600 * DAY_MS)
    if (process.platform !== 'win32') expect(statSync(join(folder, AUTHORITY_FILES.key)).mode & 0o777).toBe(0o600)
    const certificate = new X509Certificate(read!.cert)
    expect([certificate.ca, certificate.verify(certificate.publicKey)]).toEqual([true, true])
  })

  it('is none with the key of another', async () => {
    await createAuthority({ clock, random }, folder, { host: 'desk', also: [] })
    const key = readFileSync(join(folder, AUTHORITY_FILES.key))
    await createAuthority({ clock, random }, folder, { host: 'desk', also: [] })
    writeFileSync(join(folder, AUTHORITY_FILES.key), key)
    await expect(readAuthority(folder)).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it.each(Object.values(AUTHORITY_FILES))('that is damaged (%s) is not taken for a new one', async (name) => {
    await createAuthority({ clock, random }, folder, { host: 'desk', also: [] })
    writeFileSync(join(folder, name), name === AUTHORITY_FILES.key ? '' : 'x')
    const source = new LocalTlsSource({ clock, random }, { dataDir: folder, names: () => names })
    await expect(source.current()).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})

describe('its certificate', () => {
  /** Why a client that trusts the authority does not take `leaf` for `servername`. */
  const refusal = async (name: string): Promise<unknown> => {
    const nowMs = clock.wallMs()
    const validity = { fromMs: nowMs - DAY_MS, untilMs: nowMs + DAY_MS }
    const ca = await makeAuthority(random, { subject: 'ca', permitted: permittedWith(['desk']), ...validity })
    const leaf = await makeLeaf(random, ca, { subject: 'leaf', names: [name], ...validity })
    const server = createServer({ key: leaf.key, cert: leaf.cert }).on('tlsClientError', () => undefined)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    const why = await new Promise((resolve) => {
      const checkServerIdentity = (): undefined => undefined
      const socket = connect({ host: '127.0.0.1', port, ca: ca.cert, checkServerIdentity }, () => {
        socket.destroy()
        resolve(undefined)
      })
      socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code))
    })
    await new Promise((resolve) => server.close(resolve))
    return why
  }

  it('keeps clients from all that it may not vouch for, whoever has its key', async () => {
    // TLS looks at the machine's own clock
    await clock.advance(Date.now() - clock.wallMs())
    for (const name of ['desk', 'a.local', '10.0.0.1', 'fd00::1']) expect(await refusal(name), name).toBeUndefined()
    for (const name of ['example.org', 'local.example.org', '8.8.8.8', '2001:db8::1'])
      expect(await refusal(name), name).toBeDefined()
  })
})

describe('what it signs', () => {
  const start = async (): Promise<LocalTlsSource> => {
    await createAuthority({ clock, random }, folder, { host: 'desk', also: [] })
    return new LocalTlsSource({ clock, random }, { dataDir: folder, names: () => names })
  }

  it('is good for the names that it may vouch for, and bears no others', async () => {
    names.push('example.org', '8.8.8.8')
    const { cert, key, names: vouched } = await (await start()).current()
    const leaf = new X509Certificate(cert)
    expect(leaf.verify(new X509Certificate(readFileSync(join(folder, AUTHORITY_FILES.cert))).publicKey)).toBe(true)
    expect(vouched).toEqual(['localhost', 'desk', 'desk.local', '127.0.0.1'])
    expect([leaf.checkHost('desk.local'), leaf.checkHost('example.org'), leaf.checkIP('127.0.0.1')]).toEqual([
      'desk.local',
      undefined,
      '127.0.0.1',
    ])
    expect(key).toContain('PRIVATE KEY')
  })

  it('is made anew when a third of it is left, when names change, and by another authority', async () => {
    const source = await start()
    const first = await source.current()
    expect(first.untilMs - clock.wallMs()).toBeLessThanOrEqual(30 * DAY_MS)
    await clock.advance(19 * DAY_MS)
    expect(await source.current()).toBe(first)
    await clock.advance(2 * DAY_MS)
    const second = await source.current()
    expect(second.untilMs).toBeGreaterThan(first.untilMs)
    names.push('192.168.1.9')
    const third = await source.current()
    expect(third.names).toContain('192.168.1.9')
    names.push('9.9.9.9')
    expect(await source.current()).toBe(third)
    await createAuthority({ clock, random }, folder, { host: 'desk', also: [] })
    expect(await source.current()).not.toBe(third)
  })

  it('is not longer good than the authority', async () => {
    const source = await start()
    const { untilMs } = (await readAuthority(folder))!
    await clock.advance(untilMs - clock.wallMs() - 5 * DAY_MS)
    const last = await source.current()
    expect(last.untilMs).toBe(untilMs)
    expect(await source.current()).toBe(last)
    await clock.advance(5 * DAY_MS)
    await expect(source.current()).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('is nothing without a name, and nothing without an authority', async () => {
    const source = await start()
    names = ['example.org']
    await expect(source.current()).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    rmSync(join(folder, AUTHORITY_FILES.cert))
    rmSync(join(folder, AUTHORITY_FILES.key))
    await expect(source.current()).rejects.toMatchObject({
      message: expect.stringContaining('skein trust init') as string,
    })
  })
})
