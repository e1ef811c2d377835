/** `--upstream`, and what the doctor says of servers. */
import { describe, expect, it } from 'vitest'
import { checkUpstream } from '../../../clients/cli/doctor/upstream-check.ts'
import { upstreamChoices, upstreamOf } from '../../../clients/cli/upstream-options.ts'
import type { InspectedServer } from '../../../node/index.ts'

describe('--upstream', () => {
  it('is auto, off, or servers with the variables of their keys', () => {
    expect(upstreamChoices('auto')).toEqual(['auto'])
    expect(upstreamChoices('off')).toEqual(['off'])
    const first = upstreamChoices('http://127.0.0.1:1,KEY')
    expect(first).toEqual([{ url: 'http://127.0.0.1:1', variable: 'KEY' }])
    expect(upstreamChoices('auto', first)).toHaveLength(2)
    expect(upstreamChoices(' auto  http://127.0.0.1:1 ')).toEqual(['auto', { url: 'http://127.0.0.1:1' }])
    for (const text of ['', 'on', 'box:80', 'http://', 'http://x,1', 'off auto', 'file:///x'])
      expect(() => upstreamChoices(text), text).toThrow()
  })

  it('looks at the usual addresses unless it says otherwise', async () => {
    expect((await upstreamOf(undefined, 'edge', {})).init).toEqual({ isAuto: true, named: [] })
    expect((await upstreamOf(['off'], 'edge', {})).init).toEqual({ isAuto: false, named: [] })
    const named = await upstreamOf([{ url: 'http://127.0.0.1:1/v1', variable: 'KEY' }], 'edge', { KEY: 'secret' })
    expect(named.init).toEqual({ isAuto: false, named: [{ url: 'http://127.0.0.1:1', key: 'secret' }] })
    expect(named.keys).toEqual(new Map([['http://127.0.0.1:1', 'secret']]))
  })

  it('refuses a key that is not there, and a server on the internet for a node of the owner', async () => {
    const invalid = { code: 'CONFIG_INVALID' }
    await expect(upstreamOf([{ url: 'http://127.0.0.1:1', variable: 'KEY' }], 'edge', {})).rejects.toMatchObject(
      invalid,
    )
    const far = [{ url: 'https://api.example.com' }]
    await expect(upstreamOf(far, 'edge', {})).rejects.toMatchObject(invalid)
    await expect(upstreamOf(far, undefined, {})).rejects.toMatchObject(invalid)
    expect((await upstreamOf(far, 'cloud', {})).init.named).toEqual([{ url: 'https://api.example.com' }])
  })
})

describe('what the doctor says of servers', () => {
  const said = async (server?: Partial<InspectedServer>) => {
    const servers = server ? [{ url: 'http://x', isNamed: true, models: [], ...server }] : []
    return (await checkUpstream(() => Promise.resolve(servers)))[0]!
  }

  it('tells what can be offered of each, and why not the rest', async () => {
    const models = [
      { name: 'goose', isOffered: true },
      { name: 'big:cloud', isOffered: false, why: 'it runs at a cloud' },
    ]
    const found = await said({ kind: 'ollama', version: '1', models })
    expect(found.verdict).toBe('ok')
    expect(found.detail).toMatch(/^ollama 1 at http:\/\/x: 1 of 2 .*big:cloud: it runs at a cloud/)
  })

  it('warns of a named server that does not answer, and passes over what is not there', async () => {
    expect((await said({ why: 'nothing answers' })).verdict).toBe('warning')
    expect((await said({ kind: 'skein', why: 'another Skein' })).verdict).toBe('skipped')
    expect((await said()).verdict).toBe('skipped')
  })
})
