/** A mesh of real processes on one machine: what a person gets from the commands of the README. */
import { mkdtemp, readdir, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureModel } from '../fixtures/models/index.ts'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'

interface NodeRow {
  readonly name: string
  readonly eligible: boolean
  readonly models: readonly { name: string; speed?: { prefillTokensPerSecond: number } }[]
  readonly load?: { readonly models: readonly { readonly running: number }[] }
}

const nodesOf = async (url: string): Promise<NodeRow[]> =>
  ((await (await fetch(`${url}/mesh/v1/nodes`)).json()) as { data: NodeRow[] }).data

describe('a coordinator and nodes in processes of their own', () => {
  const started: SkeinProcess[] = []
  let tiny: string
  let up: SkeinProcess
  const start = async (...args: string[]): Promise<SkeinProcess> => {
    const process = await SkeinProcess.start({ args })
    started.push(process)
    return process
  }
  const joinNode = (name: string, invite: string, ...more: string[]): Promise<SkeinProcess> =>
    start(
      'node',
      '--name',
      name,
      '--join',
      invite,
      '--no-mdns',
      '--listen',
      '/ip4/127.0.0.1/tcp/0',
      '--model',
      tiny,
      ...more,
    )
  const invite = async (uses = 1): Promise<string> => {
    const result = await skein(['invite', '--uses', String(uses), '--data', up.dataDir])
    expect(result.code, result.stderr).toBe(0)
    return result.stdout.trim()
  }
  const eligible = (name: string): Promise<NodeRow> =>
    eventually(`${name} is eligible`, async () =>
      (await nodesOf(up.http)).find((node) => node.name === name && node.eligible),
    )

  beforeAll(async () => {
    tiny = await ensureModel('tiny')
    up = await start(
      'coordinator',
      '--name',
      'first',
      '--http',
      '127.0.0.1:0',
      '--no-mdns',
      '--listen',
      '/ip4/127.0.0.1/tcp/0',
    )
  })
  afterAll(async () => {
    for (const process of started.reverse()) await process.kill()
  })

  it('says what is missing while no node has a model', async () => {
    const response = await fetch(`${up.http}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ model: 'tiny', messages: [{ role: 'user', content: 'hi' }] }),
    })
    expect(response.status).toBe(503)
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0)
    expect(await response.json()).toMatchObject({
      error: { code: 'no_node', message: expect.stringContaining('--model') as string },
    })
  })

  it('a node that joins is eligible, measured and used', async () => {
    await joinNode('second', await invite())
    await eligible('second')
    await eventually('second is measured', async () =>
      (await nodesOf(up.http)).find((node) => node.name === 'second' && node.models[0]?.speed !== undefined),
    )
    const client = new OpenAI({ baseURL: `${up.http}/v1`, apiKey: 'any' })
    const { data, response } = await client.chat.completions
      .create({ model: 'tiny', max_tokens: 8, messages: [{ role: 'user', content: 'hello there' }] })
      .withResponse()
    expect(response.headers.get('x-skein-node')).toBe('second')
    expect(response.headers.get('x-skein-route')).toBe('mesh')
    expect(data.choices[0]?.message.content?.length).toBeGreaterThan(0)
    expect(data.usage?.completion_tokens).toBeLessThanOrEqual(8)
  })

  it('streams and whole answers of one seed agree, for the openai client and skein run', async () => {
    const client = new OpenAI({ baseURL: `${up.http}/v1`, apiKey: 'any' })
    const body = {
      model: 'tiny',
      max_tokens: 24,
      temperature: 0,
      messages: [{ role: 'user' as const, content: 'tell me' }],
    }
    const whole = await client.chat.completions.create(body)
    let streamed = ''
    let finish: string | null = null
    for await (const chunk of await client.chat.completions.create({ ...body, stream: true })) {
      streamed += chunk.choices[0]?.delta.content ?? ''
      finish = chunk.choices[0]?.finish_reason ?? finish
    }
    expect(streamed).toBe(whole.choices[0]?.message.content)
    expect(finish).toBe(whole.choices[0]?.finish_reason)
    const run = await skein([
      'run',
      'tiny',
      'tell me',
      '--max-tokens',
      '24',
      '--temperature',
      '0',
      '--data',
      up.dataDir,
    ])
    expect(run.code, run.stderr).toBe(0)
    expect(run.stdout).toBe(`${streamed}\n`)
  })

  it('a client that hangs up frees the slot of the engine', async () => {
    const hangUp = new AbortController()
    const response = await fetch(`${up.http}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'tiny',
        stream: true,
        max_tokens: 3500,
        temperature: 0,
        messages: [{ role: 'user', content: 'a long story' }],
      }),
      signal: hangUp.signal,
    })
    const running = async (): Promise<number> =>
      (await nodesOf(up.http)).find((node) => node.name === 'second')?.load?.models[0]?.running ?? 0
    // what the node itself reports, not what the coordinator reckons
    await eventually('the engine generates', async () => ((await running()) === 1 ? true : undefined))
    hangUp.abort()
    await expect(response.text()).rejects.toThrow()
    await eventually('the engine is free', async () => ((await running()) === 0 ? true : undefined), 3000)
  })

  it('skein chat converses over a pipe and keeps stdout for the answers', async () => {
    const args = ['chat', 'tiny', '--max-tokens', '12', '--temperature', '0', '--data', up.dataDir]
    const chat = await skein(args, { input: '/models\nhello\nand again\n/exit\n' })
    expect(chat.code, chat.stderr).toBe(0)
    expect(chat.stderr).toContain('tiny')
    const answers = chat.stdout.split('\n')
    expect(answers.length).toBeGreaterThanOrEqual(3)
    const once = await skein(['run', 'tiny', 'hello', ...args.slice(2)])
    expect(chat.stdout.startsWith(once.stdout)).toBe(true)
  })

  it('as many parallel streams as there are slots use every node', async () => {
    const token = await invite(2)
    await Promise.all([joinNode('third', token), joinNode('fourth', token)])
    await Promise.all(['third', 'fourth'].map(eligible))
    const used = await Promise.all(
      Array.from({ length: 12 }, async () => {
        const response = await fetch(`${up.http}/v1/chat/completions`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({
            model: 'tiny',
            stream: true,
            max_tokens: 200,
            messages: [{ role: 'user', content: 'go on' }],
          }),
        })
        const text = await response.text()
        expect(text.trimEnd().endsWith('data: [DONE]')).toBe(true)
        return response.headers.get('x-skein-node')
      }),
    )
    expect(new Set(used)).toEqual(new Set(['second', 'third', 'fourth']))
  })

  it('skein join makes a member that then starts without an invite', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'skein-test-'))
    const joined = await skein(['join', await invite(), '--name', 'joined', '--no-mdns', '--json', '--data', dataDir])
    expect(joined.code, joined.stderr).toBe(0)
    expect(JSON.parse(joined.stdout)).toMatchObject({ name: 'joined', meshId: up.ready['meshId'] })
    const args = ['node', '--name', 'joined', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--model', tiny]
    const node = await SkeinProcess.start({ args, dataDir })
    try {
      await eligible('joined')
    } finally {
      await node.kill()
    }
  })

  it('skein doctor finds nothing wrong with a mesh that works', async () => {
    const result = await skein(['doctor', '--json', '--data', up.dataDir])
    const { findings } = JSON.parse(result.stdout) as {
      findings: { check: string; verdict: string; detail: string }[]
    }
    expect(findings.filter((finding) => finding.verdict === 'failure')).toEqual([])
    expect(result.code).toBe(0)
    const nodes = findings.find((finding) => finding.check === 'nodes')
    expect(nodes?.detail).toMatch(/^[1-9]\d* of \d+ members can take work$/)
    expect(findings.map((finding) => finding.check)).toEqual(
      expect.arrayContaining(['engine', 'GPU', 'clock', 'discovery: mdns']),
    )
  })

  it('docs/CONFIGURATION.md names every file that a data directory gets', async () => {
    const page = await readFile(new URL('../../docs/CONFIGURATION.md', import.meta.url), 'utf8')
    const files = new Set((await Promise.all(started.map(({ dataDir }) => readdir(dataDir)))).flat())
    // SQLite's own, beside the lock
    files.delete('lock.db-journal')
    expect(files.size).toBeGreaterThan(6)
    expect([...files].filter((name) => !page.includes(`\`${name}\``))).toEqual([])
  })

  it('an answer survives the death of its node', async () => {
    const body = {
      model: 'tiny',
      stream: true,
      temperature: 0,
      max_tokens: 400,
      messages: [{ role: 'user', content: 'once more' }],
    }
    const response = await fetch(`${up.http}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    const victim = started.find((process) => process.ready['name'] === response.headers.get('x-skein-node'))!
    let text = ''
    const decoder = new TextDecoder()
    for await (const chunk of response.body!) {
      if (text === '') victim.child.kill('SIGKILL')
      text += decoder.decode(chunk as Uint8Array, { stream: true })
    }
    const lines = text.split('\n').filter((line) => line.startsWith('data: '))
    expect(lines.at(-1)).toBe('data: [DONE]')
    expect(text).toContain('resuming')
    await eventually('the dead node is out', async () =>
      (await nodesOf(up.http)).find((node) => node.name === victim.ready['name'] && !node.eligible),
    )
  })

  it('a revoked node gets nothing any more', async () => {
    const fifth = await joinNode('fifth', await invite())
    await eligible('fifth')
    const revoked = await skein(['nodes', '--revoke', 'fifth', '--data', up.dataDir])
    expect(revoked.code, revoked.stderr).toBe(0)
    expect((await nodesOf(up.http)).some((node) => node.name === 'fifth')).toBe(false)
    // It is told why, believes the signed list, and ends instead of knocking for ever
    await fifth.until((event) => event.event === 'revoked', 20_000)
    await eventually('its process ends', () => Promise.resolve(fifth.exited || undefined), 12_000)
    expect(fifth.child.exitCode).toBe(4)
    const again = await skein(['node', '--no-mdns', '--data', fifth.dataDir])
    expect(again.code).toBe(4)
    expect(again.stderr).toContain('revoked')
  })
})
