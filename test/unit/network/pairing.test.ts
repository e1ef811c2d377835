/** What a pairing code is made of and how long it holds, without a network. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  generateIdentity,
  MeshAuthority,
  pairingCodeOf,
  PairingKey,
  Pairings,
  type Identity,
} from '../../../mesh/network/index.ts'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { ManualClock, SeededRandom } from '../../../mesh/runtime/index.ts'

let dataDir: string
let clock: ManualClock
let pairings: Pairings
let authority: Identity
let joiner: Identity
let opened: boolean[]

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'skein-pairing-'))
  clock = new ManualClock()
  const random = new SeededRandom(5)
  authority = await generateIdentity(random)
  joiner = await generateIdentity(random)
  opened = []
  pairings = new Pairings({
    ...{ clock, random, self: authority.peerId, onOpen: (isOpen) => opened.push(isOpen) },
    authority: await MeshAuthority.create({ clock, random }, dataDir),
  })
})
afterEach(() => rm(dataDir, { recursive: true, force: true }))

const ends = () => ({ joiner: joiner.peerId, authority: authority.peerId })
const subject = () => ({ peerId: joiner.peerId, name: 'b', roles: ['node'] as const })
const proofOf = async (code: string, of = ends()) => (await PairingKey.of(pairingCodeOf(code)!, of)).request()

describe('the text of a code', () => {
  it('is read in any case, with dashes and spaces; anything else is no code', () => {
    expect(pairingCodeOf('k7qm-3xpa')).toBe('K7QM3XPA')
    expect(pairingCodeOf(' K7QM 3XPA\n')).toBe('K7QM3XPA')
    for (const text of ['', 'K7QM3XP', 'K7QM3XPAA', 'K7QM-3XP0', 'K7QM-3XPI', 'skein1abcdefgh', '-'.repeat(1000)])
      expect(pairingCodeOf(text)).toBeUndefined()
  })
})

describe('proofs', () => {
  it('hold for these two peers and this direction alone', async () => {
    const code = pairings.open().code!
    const key = await PairingKey.of(pairingCodeOf(code)!, ends())
    const signed = { payload: new Uint8Array([1]), signature: new Uint8Array([2]) }
    expect(key.isRequest(key.request())).toBe(true)
    expect(key.isRequest(key.grant(signed))).toBe(false)
    expect(key.isGrant(key.grant(signed), signed)).toBe(true)
    expect(key.isGrant(key.grant(signed), { ...signed, payload: new Uint8Array([3]) })).toBe(false)
    // who was shown a proof and shows it on is another joiner
    const relayed = await proofOf(code, { joiner: authority.peerId, authority: authority.peerId })
    await expect(pairings.redeem(subject(), relayed)).rejects.toMatchObject({ code: 'INVITE_INVALID' })
    await expect(pairings.redeem(subject(), '')).rejects.toMatchObject({ code: 'INVITE_INVALID' })
    expect(pairings.current()?.triesLeft).toBe(LIMITS.pairingTriesMax - 2)
  })
})

describe('a code', () => {
  it('is over when its time is up', async () => {
    const { code, expiresAtMs } = pairings.open(60_000)
    expect(expiresAtMs - clock.wallMs()).toBe(60_000)
    const proof = await proofOf(code!)
    await clock.advance(60_000)
    expect(pairings.current()).toMatchObject({ state: 'over' })
    await expect(pairings.redeem(subject(), proof)).rejects.toMatchObject({ code: 'INVITE_INVALID' })
    expect(opened).toEqual([true, false])
  })

  it('lets one of two in that come at the same time', async () => {
    const proof = await proofOf(pairings.open().code!)
    const both = await Promise.allSettled([pairings.redeem(subject(), proof), pairings.redeem(subject(), proof)])
    expect(both.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
    expect(pairings.current()).toMatchObject({ state: 'used', joined: { name: 'b' } })
  })

  it('is not tried more often than it may be, also by many at once', async () => {
    pairings.open()
    const tries = Array.from({ length: 40 }, () => pairings.redeem(subject(), 'A'.repeat(43)))
    for (const result of await Promise.allSettled(tries)) expect(result.status).toBe('rejected')
    expect(pairings.current()).toMatchObject({ state: 'spent', triesLeft: 0 })
    expect(opened).toEqual([true, false])
  })
})
