import { readFile, stat, writeFile } from 'node:fs/promises'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  decodeInvite,
  encodeInvite,
  generateIdentity,
  loadOrCreateIdentity,
  MembershipStore,
  MeshAuthority,
  openMembership,
  openSigned,
  sign,
  verifyCertificate,
  verifyRevocations,
  verifySignature,
  type Identity,
} from '../../../mesh/network/index.ts'
import { LIMITS, SkeinError, type Invite, type PeerId } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom, silentLogger } from '../../../mesh/runtime/index.ts'

let dataDir: string
let clock: ManualClock
let random: SeededRandom
let alice: Identity

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'skein-membership-'))
  clock = new ManualClock()
  random = new SeededRandom(11)
  alice = await generateIdentity(random)
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

const code = (expected: string) => expect.objectContaining({ code: expected }) as unknown
const create = () => MeshAuthority.create({ clock, random }, dataDir)
const subject = (peerId: PeerId, name = 'alice') => ({ peerId, name, roles: ['node'] as const })
const addresses = ['/ip4/10.0.0.1/tcp/4001']

describe('identity', () => {
  it('is made once, kept private, and proves what it signed for one purpose only', async () => {
    const path = join(dataDir, 'identity.key')
    const made = await loadOrCreateIdentity(path, random)
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await loadOrCreateIdentity(path, random)).peerId).toBe(made.peerId)
    const payload = new TextEncoder().encode('payload')
    const signature = await made.sign('capability', payload)
    expect(await verifySignature(made.peerId, 'capability', payload, signature)).toBe(true)
    expect(await verifySignature(made.peerId, 'certificate', payload, signature)).toBe(false)
    expect(await verifySignature(alice.peerId, 'capability', payload, signature)).toBe(false)
    expect(await verifySignature('no peer', 'capability', payload, signature)).toBe(false)
  })

  it('says which file is damaged, and leaves it alone', async () => {
    const path = join(dataDir, 'identity.key')
    await writeFile(path, 'not a key')
    await expect(loadOrCreateIdentity(path, random)).rejects.toEqual(code('DATA_DIR_UNUSABLE'))
    await expect(loadOrCreateIdentity(path, random)).rejects.toThrow(path)
    expect(await readFile(path, 'utf8')).toBe('not a key')
  })
})

describe('invite text', () => {
  it('comes back as it went, and any other text is refused', async () => {
    const { text, invite } = await (await create()).createInvite({ peerId: alice.peerId, addresses })
    expect(text).toMatch(/^skein1[A-Za-z0-9_-]+$/)
    expect(decodeInvite(` ${text}\n`)).toEqual(invite)
    fc.assert(
      fc.property(fc.string(), fc.nat({ max: text.length - 1 }), (junk, at) => {
        for (const wrong of [junk, `skein1${junk}`, text.slice(0, at), `${text.slice(0, at)}!${text.slice(at + 1)}`])
          expect(() => decodeInvite(wrong)).toThrow(SkeinError)
      }),
    )
    const huge = Array<string>(16).fill('x'.repeat(512))
    expect(() => encodeInvite({ ...invite, addresses: huge } satisfies Invite)).toThrow(/too many addresses/)
  })
})

describe('MeshAuthority', () => {
  it('issues certificates with growing serials, also after a restart', async () => {
    const authority = await create()
    const rules = { meshId: authority.meshId, nowMs: clock.wallMs(), revocations: undefined }
    const serials: number[] = []
    for (let i = 0; i < 3; i++)
      serials.push((await verifyCertificate(await authority.issue(subject(alice.peerId)), alice.peerId, rules)).serial)
    const again = (await MeshAuthority.load({ clock, random }, dataDir))!
    expect(again.meshId).toBe(authority.meshId)
    serials.push((await verifyCertificate(await again.issue(subject(alice.peerId)), alice.peerId, rules)).serial)
    expect([...serials].sort((a, b) => a - b)).toEqual(serials)
    expect(new Set(serials).size).toBe(4)
    expect((await stat(join(dataDir, 'mesh.key'))).mode & 0o777).toBe(0o600)
    expect((await stat(join(dataDir, 'authority.json'))).mode & 0o777).toBe(0o600)
  })

  it('lets an invite be used as often as it says, and by the same peer again', async () => {
    const authority = await create()
    const { invite } = await authority.createInvite({ peerId: alice.peerId, addresses, uses: 2 })
    const peers = await Promise.all([1, 2, 3].map(() => generateIdentity(random)))
    const redeem = (who: Identity) => authority.redeem(subject(who.peerId), invite.inviteId, invite.secret)
    await redeem(peers[0]!)
    await redeem(peers[0]!)
    await redeem(peers[1]!)
    await expect(redeem(peers[2]!)).rejects.toEqual(code('INVITE_INVALID'))
    const again = (await MeshAuthority.load({ clock, random }, dataDir))!
    await expect(again.redeem(subject(peers[2]!.peerId), invite.inviteId, invite.secret)).rejects.toEqual(
      code('INVITE_INVALID'),
    )
    expect(await readFile(join(dataDir, 'authority.json'), 'utf8')).not.toContain(invite.secret)
  })

  it('refuses a wrong secret, an expired invite, and roles that were not granted', async () => {
    const authority = await create()
    const { invite } = await authority.createInvite({ peerId: alice.peerId, addresses, roles: ['bridge'] })
    const redeem = (secret: string, roles: readonly ('node' | 'bridge')[]) =>
      authority.redeem({ peerId: alice.peerId, name: 'a', roles }, invite.inviteId, secret)
    await expect(redeem('wrong', ['bridge'])).rejects.toEqual(code('INVITE_INVALID'))
    await expect(redeem(invite.secret, ['node'])).rejects.toThrow(/be a node/)
    await redeem(invite.secret, ['bridge'])
    await clock.advance(LIMITS.inviteValidityMs + 1)
    await expect(redeem(invite.secret, ['bridge'])).rejects.toEqual(code('INVITE_INVALID'))
  })

  it('voids certificates and the invite of who is revoked; a new invite makes it a member again', async () => {
    const authority = await create()
    const { invite } = await authority.createInvite({ peerId: alice.peerId, addresses, uses: 5 })
    const redeem = (by: Invite) => authority.redeem(subject(alice.peerId), by.inviteId, by.secret)
    const old = await redeem(invite)
    const first = await verifyRevocations(authority.revocations(), authority.meshId)
    const revocations = await verifyRevocations(await authority.revoke(alice.peerId), authority.meshId)
    expect(revocations.sequence).toBeGreaterThan(first.sequence)
    const rules = { meshId: authority.meshId, nowMs: clock.wallMs(), revocations }
    await expect(verifyCertificate(old, alice.peerId, rules)).rejects.toEqual(code('CERTIFICATE_REVOKED'))
    await expect(authority.renew(alice.peerId, old)).rejects.toEqual(code('CERTIFICATE_REVOKED'))
    await expect(redeem(invite)).rejects.toEqual(code('INVITE_INVALID'))
    const { invite: fresh } = await authority.createInvite({ peerId: alice.peerId, addresses })
    expect(await verifyCertificate(await redeem(fresh), alice.peerId, rules)).toMatchObject({ name: 'alice' })
  })
})

describe('verifyCertificate', () => {
  it('tells what is wrong', async () => {
    const authority = await create()
    const signed = await authority.issue(subject(alice.peerId))
    const rules = { meshId: authority.meshId, nowMs: clock.wallMs(), revocations: undefined }
    const verify = (init: Partial<typeof rules> = {}, peer = alice.peerId, what = signed) =>
      verifyCertificate(what, peer, { ...rules, ...init })
    const bob = await generateIdentity(random)
    await expect(verify({}, bob.peerId)).rejects.toEqual(code('CERTIFICATE_INVALID'))
    await expect(verify({ meshId: bob.peerId as never })).rejects.toEqual(code('WRONG_MESH'))
    const tampered = { ...signed, signature: signed.signature.map((byte) => byte ^ 1) }
    await expect(verify({}, alice.peerId, tampered)).rejects.toEqual(code('CERTIFICATE_INVALID'))
    const own = await sign(bob, 'certificate', { ...(await verify()), name: 'x' })
    await expect(verify({}, alice.peerId, own)).rejects.toEqual(code('CERTIFICATE_INVALID'))
    const lateMs = rules.nowMs + LIMITS.certificateValidityMs
    expect(await verify({ nowMs: lateMs + LIMITS.clockSkewMs - 1 })).toMatchObject({ name: 'alice' })
    await expect(verify({ nowMs: lateMs + LIMITS.clockSkewMs })).rejects.toEqual(code('CERTIFICATE_EXPIRED'))
    expect(await verify({ nowMs: rules.nowMs - LIMITS.clockSkewMs })).toMatchObject({ name: 'alice' })
    await expect(verify({ nowMs: rules.nowMs - LIMITS.clockSkewMs - 1 })).rejects.toThrow(/clocks differ/)
    await expect(openSigned(authority.meshId, 'revocations', signed)).rejects.toEqual(code('CERTIFICATE_INVALID'))
  })
})

describe('membership of a directory', () => {
  const open = (init: { roles?: ('coordinator' | 'node')[]; mayCreate?: boolean; name?: string } = {}) =>
    openMembership(
      { clock, random, log: silentLogger },
      {
        dataDir,
        name: init.name ?? 'desk',
        roles: init.roles ?? ['coordinator'],
        mayCreate: init.mayCreate ?? true,
        mdns: false,
      },
    )

  it('makes a mesh once, and keeps it', async () => {
    await expect(open({ mayCreate: false })).rejects.toEqual(code('NOT_A_MEMBER'))
    const first = await open()
    const again = await open()
    expect(again.store.certificate).toEqual(first.store.certificate)
    expect(again.authority?.meshId).toBe(first.store.meshId)
    const renamed = await open({ name: 'attic', roles: ['coordinator', 'node'] })
    expect(renamed.store.certificate).toMatchObject({ name: 'attic', roles: ['coordinator', 'node'] })
    await clock.advance(LIMITS.certificateValidityMs + 2 * LIMITS.clockSkewMs)
    expect((await open()).store.certificate.expiresAtMs).toBeGreaterThan(clock.wallMs())
  })

  it('takes over newer revocation lists only, and remembers a bounded number of peers', async () => {
    const { store, authority } = await open()
    const old = authority!.revocations()
    const newer = await authority!.revoke(alice.peerId)
    expect(await store.offerRevocations(newer)).toBe(true)
    expect(await store.offerRevocations(old)).toBe(false)
    await expect(store.offerRevocations(await sign(alice, 'revocations', {}))).rejects.toBeInstanceOf(SkeinError)
    for (let i = 0; i < 200; i++) store.remember(`peer-${i}` as PeerId, [`/a/${i}`, '/b', '/c', '/d', '/e'])
    await store.save()
    const loaded = (await MembershipStore.load(dataDir, store.certificate.peerId))!
    expect(loaded.remembered).toHaveLength(64)
    expect(loaded.remembered[0]).toEqual({ peerId: 'peer-199', addresses: ['/a/199', '/b', '/c', '/d'] })
    expect(loaded.revocations?.revoked.map((entry) => entry.peerId)).toEqual([alice.peerId])
    expect(loaded.isRevoked).toBe(false)
  })

  it('names the file that is damaged', async () => {
    await open()
    await writeFile(join(dataDir, 'membership.json'), '{"version":1}')
    await expect(open()).rejects.toThrow(/membership.json is damaged/)
  })
})
