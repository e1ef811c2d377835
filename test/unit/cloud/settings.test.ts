/** The cloud settings: what a file may say, what is wrong with one, and how a changed one is taken over. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { CLOUD_FILE, cloudRules, CloudSettingsSource, readCloudSettings } from '../../../coordinator/cloud/index.ts'
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { ManualClock, silentLogger } from '../../../mesh/runtime/index.ts'

const endpoint = {
  name: 'rented',
  url: 'https://example.org/v1',
  keys: ['RENTED_KEY'],
  free: true,
  models: [{ name: 'm' }],
}
const read = (value: unknown) => readCloudSettings(JSON.stringify(value))

describe('the file', () => {
  it('has defaults for all that it leaves out', () => {
    expect(readCloudSettings(' ')).toMatchObject({
      policy: {
        reasons: ['too-big', 'deadline', 'name', 'lost'],
        models: ['*'],
        tenants: ['*'],
        redact: [],
        cascade: [],
      },
      endpoints: [],
    })
    expect(read({ policy: { reasons: [], redact: [{ pattern: 'x' }] } }).policy).toEqual({
      reasons: [],
      models: ['*'],
      tenants: ['*'],
      redact: [{ pattern: 'x', with: '[redacted]' }],
      cascade: [],
    })
    expect(read({ endpoints: [endpoint] }).endpoints).toEqual([endpoint])
  })

  it.each([
    ['no JSON', '{', /no JSON/],
    ['an unknown section', '{"polcy":{}}', /no member "polcy"/],
    ['an unknown member', '{"policy":{"reason":[]}}', /\/policy has no member "reason"/],
    ['a reason that there is not', '{"policy":{"reasons":["speed"]}}', /\/policy\/reasons\/0 must be one of too-big/],
    ['a pattern that is none', '{"policy":{"redact":[{"pattern":"("}]}}', /\/policy\/redact\/0\/pattern is no regular/],
    ['a pattern that fits everything', '{"policy":{"redact":[{"pattern":"a*"}]}}', /fits the empty text/],
    [
      'a key in place of its variable',
      '{"endpoints":[{"name":"a","url":"https://a","keys":["sk-1 2"],"models":[{"name":"m"}]}]}',
      /keys/,
    ],
    [
      'an endpoint that does not say what it costs',
      '{"endpoints":[{"name":"a","url":"https://a","models":[{"name":"m"}]}]}',
      /has no price/,
    ],
    [
      'one that is free and has a price',
      '{"endpoints":[{"name":"a","url":"https://a","free":true,"price":{"inputPerMillion":1,"outputPerMillion":1},"models":[{"name":"m"}]}]}',
      /has a price and is free/,
    ],
    ['an address that is none', '{"endpoints":[{"name":"a","url":"ftp://a","models":[{"name":"m"}]}]}', /url/],
    ['too many bytes', ' '.repeat(LIMITS.cloudFileBytesMax + 1), /larger than/],
  ])('is refused with %s, which is named', (_, text, message) => {
    expect(() => readCloudSettings(text)).toThrow(message)
  })

  it('names each endpoint once', () => {
    expect(() => read({ endpoints: [endpoint, { ...endpoint, name: 'Rented' }] })).toThrow(/another endpoint's name/)
  })
})

describe('the policy', () => {
  const reasonsOf = (policy: object, names: string[], tenant = 'home'): string[] => [
    ...cloudRules(read({ policy }).policy).reasonsFor({ names, tenant }),
  ]

  it('lets those models and tenants leave that it names, by any of their names', () => {
    expect(reasonsOf({ models: ['qwen*'] }, ['sha256:1', 'qwen3-8b'])).toContain('too-big')
    expect(reasonsOf({ models: ['qwen*'] }, ['llama'])).toEqual([])
    expect(reasonsOf({ tenants: ['home'] }, ['m'])).toContain('lost')
    expect(reasonsOf({ tenants: ['home'] }, ['m'], 'guest')).toEqual([])
    expect(reasonsOf({ models: [] }, ['m'])).toEqual([])
    expect(reasonsOf({ tenants: [] }, ['m'])).toEqual([])
  })
})

describe('a file that changes', () => {
  let folder: string
  let source: CloudSettingsSource
  const write = (text: string): Promise<void> => writeFile(join(folder, CLOUD_FILE), text)
  /** Twice: what is found is taken over when it is still the same. */
  const look = async (): Promise<void> => {
    await source.look()
    await source.look()
  }
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'skein-cloud-'))
    source = new CloudSettingsSource({ clock: new ManualClock(), log: silentLogger }, folder)
  })
  afterEach(async () => {
    await source.stop()
    await rm(folder, { recursive: true })
  })

  it('ends the start when it is wrong, and may be missing', async () => {
    await source.start()
    expect(source.settings.policy.reasons).toHaveLength(4)
    await write('{"policy":1}')
    await expect(
      new CloudSettingsSource({ clock: new ManualClock(), log: silentLogger }, folder).start(),
    ).rejects.toThrow(/cloud\.json/)
  })

  it('is taken over whole, told of, and kept when a later one is wrong or gone', async () => {
    await source.start()
    const told: number[] = []
    source.watch(({ policy }) => told.push(policy.reasons.length))
    await write('{"policy":{"reasons":["name"]}}')
    await source.look()
    expect(source.settings.policy.reasons).toHaveLength(4)
    await source.look()
    expect(source.settings.policy.reasons).toEqual(['name'])
    const { rules } = source
    expect([...rules().reasonsFor({ names: ['m'], tenant: 't' })]).toEqual(['name'])
    await write('{"policy":{"reasons":["nam"]}}')
    await look()
    expect(source.problem?.message).toMatch(/must be one of/)
    expect(source.settings.policy.reasons).toEqual(['name'])
    await rm(join(folder, CLOUD_FILE))
    await look()
    expect(source.settings.policy.reasons).toEqual(['name'])
    await write('{"policy":{"reasons":[]}}')
    await look()
    expect(source.problem).toBeUndefined()
    expect([...rules().reasonsFor({ names: ['m'], tenant: 't' })]).toEqual([])
    expect(told).toEqual([1, 0])
  })
})
