import { beforeAll, describe, expect, it } from 'vitest'
import { budgetOf, leasesOf, microsOf } from '../../../../clients/web/house/budget-model.ts'
import { amountText, leftText, valueText } from '../../../../clients/web/house/format.ts'
import { inviteOf, isLoopbackHost, membersOf, pairingOf } from '../../../../clients/web/house/join-model.ts'
import {
  bodyOf,
  commandOf,
  countOf,
  FIRST_DRAFT,
  isComplete,
  issuedOf,
  keysOf,
} from '../../../../clients/web/house/keys-model.ts'
import { csvCell, csvOf, totalOf, usageOf } from '../../../../clients/web/house/usage-model.ts'
import { loadLaterWords } from '../../../../clients/web/words/index.ts'

describe('usage', () => {
  const ANSWER = {
    data: [
      { key: 'key_1', name: 'phone', requests: 2, completed: 1, promptTokens: 10, completionTokens: 5, costMicros: 7 },
      { key: 'local', requests: 1, completed: 1, promptTokens: 1, completionTokens: 1, cloudMicros: 3 },
      { key: 'odd', requests: 'many' },
    ],
  }

  it('is summed by what was asked for, with a total', () => {
    const rows = usageOf(ANSWER, 'key')
    expect(rows.map(({ id, label }) => [id, label])).toEqual([
      ['key_1', 'phone'],
      ['local', 'local'],
      ['odd', 'odd'],
    ])
    expect(totalOf(rows)).toMatchObject({ requests: 3, completed: 2, promptTokens: 11, costMicros: 7, cloudMicros: 3 })
  })

  it('goes into a file that no spreadsheet takes for formulas', () => {
    expect(csvCell('=HYPERLINK("x")')).toBe(`"'=HYPERLINK(""x"")"`)
    expect(csvCell('+1')).toBe("'+1")
    expect(csvCell('a,b')).toBe('"a,b"')
    expect(csvCell(-3)).toBe('-3')
    const lines = csvOf(usageOf(ANSWER, 'key'), 'key').trimEnd().split('\r\n')
    expect(lines[0]).toMatch(/^key,name,requests,completed,promptTokens/)
    expect(lines[1]).toMatch(/^key_1,phone,2,1,10,0,5,/)
    expect(lines).toHaveLength(4)
  })
})

describe('the budget', () => {
  it('takes amounts as people write them, and nothing else', () => {
    expect(microsOf('5')).toBe(5_000_000)
    expect(microsOf(' 2,50 ')).toBe(2_500_000)
    expect(microsOf('0.000001')).toBe(1)
    for (const text of ['', '-1', '1e9', '5 €', '1.2.3', '99999999999', '.5', 'none'])
      expect(microsOf(text)).toBeUndefined()
  })

  it('is read with what holds and what was spent', () => {
    const period = {
      period: 'day',
      from: 'x',
      turnsAtMs: 9,
      limitMicros: 5,
      spentMicros: 2,
      reservedMicros: 1,
      leftMicros: 2,
    }
    const budget = budgetOf({
      atLimit: 'wait',
      periods: [period, { period: 'year' }],
      tenants: [{ tenant: 't' }, {}],
      changes: [],
    })
    expect(budget).toMatchObject({
      atLimit: 'wait',
      periods: [{ period: 'day', leftMicros: 2 }],
      tenants: [{ id: 't', name: 't' }],
    })
    expect(budget.periods).toHaveLength(1)
    expect(budgetOf(undefined)).toMatchObject({ atLimit: 'refuse', periods: [] })
  })

  it('has machines with what they cost', () => {
    const lease = {
      id: 'l1',
      name: 'far',
      pool: 'p',
      flavour: 'f',
      phase: 'ready',
      microsPerHour: 500_000,
      isSpot: true,
      paidMicros: 7,
    }
    expect(leasesOf({ data: [lease, { id: 'l2', phase: 'dreaming' }] })).toMatchObject([
      { id: 'l1', isSpot: true, paidMicros: 7 },
    ])
  })
})

describe('keys', () => {
  it('are asked for with what was chosen alone', () => {
    expect(bodyOf({ ...FIRST_DRAFT, name: ' phone ' })).toEqual({
      ...{ name: 'phone', routes: ['inference', 'mesh'], priority: 'interactive' },
    })
    const draft = {
      ...FIRST_DRAFT,
      ...{ name: "it's", scopes: ['admin'] as const, models: 'qwen*, ,llama', devices: 'act' as const },
      ...{ isLocalOnly: true, requestsPerMinute: '60', validity: 'week' as const },
    }
    expect(bodyOf(draft)).toEqual({
      ...{ name: "it's", routes: ['admin'], priority: 'interactive', models: ['qwen*', 'llama'], devices: 'act' },
      ...{ local_only: true, requests_per_minute: 60, valid_ms: 7 * 24 * 3_600_000 },
    })
    expect(commandOf(draft)).toBe(
      String.raw`skein keys add 'it'\''s' --route admin --model 'qwen*' --model llama --local-only --devices act --requests 60 --valid 7d`,
    )
  })

  it('are not asked for before they are complete', () => {
    expect(isComplete(FIRST_DRAFT)).toBe(false)
    expect(isComplete({ ...FIRST_DRAFT, name: 'a' })).toBe(true)
    expect(isComplete({ ...FIRST_DRAFT, name: 'a', scopes: [] })).toBe(false)
    expect(isComplete({ ...FIRST_DRAFT, name: 'a', tokensPerDay: '0' })).toBe(false)
    expect(countOf('')).toBeNull()
    expect(countOf('12')).toBe(12)
    expect(countOf('1.5')).toBeUndefined()
  })

  it('are read without a secret in the list, and with it once', () => {
    const told = {
      id: 'key_1',
      name: 'phone',
      state: 'good',
      routes: ['inference', 'root'],
      models: ['*'],
      createdAtMs: 5,
    }
    expect(keysOf({ data: [told, { id: 'x', state: 'odd' }] })).toMatchObject([
      { id: 'key_1', scopes: ['inference'], devices: 'none', isLocalOnly: false },
    ])
    expect(issuedOf(told)).toBeUndefined()
    expect(issuedOf({ ...told, secret: 'sk-skein-x' })?.secret).toBe('sk-skein-x')
  })
})

describe('coming in', () => {
  it('shows members with what they serve', () => {
    const node = {
      peerId: 'p',
      name: 'desk',
      eligible: false,
      reasons: ['cordoned'],
      models: [{ name: 'a' }, { name: 'a' }, {}],
    }
    expect(membersOf({ data: [node, {}] })).toEqual([
      {
        peerId: 'p',
        name: 'desk',
        isSelf: false,
        isServing: false,
        reason: 'cordoned',
        models: ['a'],
        machine: undefined,
      },
    ])
  })

  it('takes no invite into a command line that a shell would take apart', () => {
    expect(inviteOf({ invite: 'skein1abc_-X', uses: 3, expiresAtMs: 9 })).toEqual({
      invite: 'skein1abc_-X',
      uses: 3,
      expiresAtMs: 9,
    })
    for (const invite of ['skein1;rm', '', 7, 'a'.repeat(9000)]) expect(inviteOf({ invite })).toBeUndefined()
  })

  it('knows a pairing in each of its states', () => {
    expect(pairingOf({ state: 'none' })).toMatchObject({ state: 'none', code: undefined })
    expect(
      pairingOf({ state: 'used', joined: { name: 'b', peerId: 'p' }, expiresAtMs: 4, triesLeft: 4 }),
    ).toMatchObject({ joined: 'b' })
    expect(pairingOf('nonsense').state).toBe('none')
  })

  it('knows addresses of this machine alone', () => {
    for (const host of ['localhost', '127.0.0.1', '127.8.8.8', '[::1]']) expect(isLoopbackHost(host)).toBe(true)
    for (const host of ['192.168.1.5', 'desk.local', '127.0.0.1.evil.example', 'localhost.x'])
      expect(isLoopbackHost(host)).toBe(false)
  })
})

describe('figures', () => {
  beforeAll(loadLaterWords)

  it('are written with their units and no more digits than they mean', () => {
    expect(valueText(31.249, 'C')).toBe('31.2\u00a0°C')
    expect(valueText(40, '%')).toBe('40\u202f%')
    expect(valueText(true)).toBe('On')
    expect(valueText('x'.repeat(100)).length).toBeLessThan(60)
    expect(amountText(2_500_000)).toBe('2.50')
    expect(amountText(58)).toBe('<\u00a00.0001')
    expect(amountText(580)).toBe('0.00058')
    expect(leftText(545_000)).toBe('9:05')
    expect(leftText(-3)).toBe('0:00')
  })
})
