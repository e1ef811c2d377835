/** Keys and usage from the command line, on a real process: over a restart, and over a kill. */
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import OpenAI from 'openai'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { skein, SkeinProcess } from '../fixtures/skein-process.ts'

const ARGS = ['up', '--name', 'first', '--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0', '--upstream', 'off']
const MODEL = ['--model', 'echo:parrot']
const SECRET_PROMPT = 'whoever tires falls back'

describe('skein keys', () => {
  let data: string
  let up: SkeinProcess
  const start = async (): Promise<void> => {
    const args = [...ARGS, ...MODEL, '--http', '127.0.0.1:0', '--log-level', 'trace', '--log-file', 'auto']
    up = await SkeinProcess.start({ args, dataDir: data })
  }
  const run = async (...args: string[]): Promise<string> => {
    const result = await skein([...args, '--data', data])
    expect(result.code, result.stderr).toBe(0)
    return result.stdout
  }
  const ask = (secret: string): Promise<OpenAI.ChatCompletion> =>
    new OpenAI({ baseURL: `${up.http}/v1`, apiKey: secret, maxRetries: 10 }).chat.completions.create({
      model: 'parrot',
      messages: [{ role: 'user', content: SECRET_PROMPT }],
      max_tokens: 5,
    })

  beforeAll(async () => {
    data = await mkdtemp(join(tmpdir(), 'skein-keys-'))
    await start()
  })
  afterAll(async () => {
    await up.kill()
    await rm(data, { recursive: true, force: true })
  })

  it('makes a key, after which nobody gets in without one, but the commands of this machine', async () => {
    expect(await run('keys', 'list', '--json')).toBe('[]\n')
    expect((await fetch(`${up.http}/v1/models`)).status).toBe(200)
    const secret = (await run('keys', 'add', 'ada', '--model', 'par*', '--tokens-per-day', '1k')).trim()
    expect(secret).toMatch(/^sk-skein-[A-Za-z0-9_-]{43}$/)
    expect((await fetch(`${up.http}/v1/models`)).status).toBe(401)
    expect((await ask(secret)).usage?.completion_tokens).toBe(5)
    expect(await run('keys', 'list')).toMatch(
      /ada +key:\w+ +…\S{4} +good +inference mesh +par\* +interactive +1000 tokens\/day/,
    )
    expect((await skein(['keys', 'list', '--data', data, '--api-key', secret])).code).toBe(4)
    expect((await skein(['keys', 'add', 'ada', '--data', data])).code).toBe(2)
  })

  it('rotates and revokes, and tells what was used, over a kill', async () => {
    const old = (await run('keys', 'add', 'bob')).trim()
    await ask(old)
    const issued = JSON.parse(await run('keys', 'rotate', 'bob', '--grace', '1h', '--json')) as {
      secret: string
      id: string
    }
    await run('keys', 'add', 'eve')
    const revoked = JSON.parse(await run('keys', 'revoke', 'eve', '--json')) as { state: string }
    expect(revoked.state).toBe('revoked')
    // what was answered is recorded beside the answer, not before it
    await expect
      .poll(async () => (JSON.parse(await run('usage', '--json')) as unknown[]).length, {
        timeout: 30_000,
        interval: 500,
      })
      .toBe(2)
    await up.stop('SIGKILL')
    await start()
    for (const secret of [old, issued.secret]) expect((await ask(secret)).usage?.completion_tokens).toBe(5)
    await expect
      .poll(async () => JSON.parse(await run('usage', '--by', 'key', '--json')) as object[], {
        timeout: 30_000,
        interval: 500,
      })
      .toMatchObject(
        expect.arrayContaining([
          expect.objectContaining({ name: 'ada', requests: 1, completed: 1, completionTokens: 5 }),
          expect.objectContaining({ name: 'bob', key: issued.id, requests: 3, completed: 3, completionTokens: 15 }),
        ]) as object[],
      )
    const csv = await run('usage', '--by', 'key,model', '--csv')
    expect(csv.split('\r\n')[0]).toBe(
      'key,model,name,requests,completed,promptTokens,cachedTokens,completionTokens,tookMs,costMicros,joules,estimatedJoules,energyMicros,cloudMicros',
    )
    expect(csv).toContain(`${issued.id},parrot,bob,3,3,`)
    expect(await run('usage', '--by', 'day')).toMatch(/DAY +REQUESTS.*\n\d{4}-\d\d-\d\d +4 +4/)
  })

  it('leaves no secret and no prompt in the files of the process, but the prompt in its ledger', async () => {
    const secret = (await run('keys', 'add', 'zoe')).trim()
    await ask(secret)
    for (const entry of await readdir(data, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue
      const content = await readFile(join(entry.parentPath, entry.name))
      expect(content.includes(secret), entry.name).toBe(false)
      if (!entry.name.startsWith('ledger.db')) expect(content.includes(SECRET_PROMPT), entry.name).toBe(false)
    }
  })

  it('has help for each command', async () => {
    for (const command of [
      ['keys'],
      ['keys', 'add'],
      ['keys', 'list'],
      ['keys', 'rotate'],
      ['keys', 'revoke'],
      ['usage'],
    ])
      expect((await skein([...command, '--help'])).stdout, command.join(' ')).toContain('Usage: skein')
  })
})
