/**
 * The owner's policy on real processes: a clock that runs faster and a battery that a file plays. Whatever closes a node,
 * the answers that run there go on at another one, letter for letter.
 */
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Answer, echoed } from '../fault/harness/answer.ts'
import { eventually, skein, SkeinProcess } from '../fixtures/skein-process.ts'

const MODEL = 'echo:paced?tps=40'
const ALIAS = 'paced'
const LOCAL = ['--no-mdns', '--listen', '/ip4/127.0.0.1/tcp/0']
/** Longer than what a test waits for, at the pace of the model. */
const TOKENS = 1200
const PROMPTS = ['one two three', 'the goose flies on', 'a b c d e f g']

interface NodeRow {
  readonly name: string
  readonly eligible: boolean
  readonly reasons: readonly string[]
  readonly load?: { readonly cordoned: boolean; readonly models: readonly { readonly running: number }[] }
}
interface Explanation {
  readonly attempts: readonly {
    readonly node: { readonly name: string }
    readonly reason: string
    readonly outcome?: string
    readonly code?: string
    readonly message?: string
    readonly candidates: readonly { readonly name: string; readonly rejected?: string }[]
  }[]
}

describe('the policy of an owner', () => {
  const started: SkeinProcess[] = []
  let scratch: string
  let home: SkeinProcess
  let owned: SkeinProcess

  const start = async (args: string[], dataDir?: string): Promise<SkeinProcess> => {
    const init = { args: [...args, ...LOCAL], readyMs: 60_000 }
    const process = await SkeinProcess.start({ ...init, ...(dataDir !== undefined && { dataDir }) })
    started.push(process)
    return process
  }
  const get = async <T>(path: string): Promise<T> => (await (await fetch(`${home.http}/mesh/v1${path}`)).json()) as T
  const node = async (name: string): Promise<NodeRow> =>
    (await get<{ data: NodeRow[] }>('/nodes')).data.find((each) => each.name === name)!
  const is = (name: string, what: string, holds: (row: NodeRow) => boolean): Promise<NodeRow> =>
    eventually(`${name} ${what}`, async () => [await node(name)].find((row) => row !== undefined && holds(row)), 30_000)
  const isEligible = (name: string): Promise<NodeRow> => is(name, 'is eligible', ({ eligible }) => eligible)
  /** In place at once: what reads it meanwhile sees the old or the new one. */
  const put = async (path: string, text: string): Promise<void> => {
    await writeFile(`${path}.new`, text)
    await rename(`${path}.new`, path)
  }
  const plays = (senses: object): Promise<void> => put(join(scratch, 'senses.json'), JSON.stringify(senses))
  const policy = (text: string): Promise<void> => put(join(owned.dataDir, 'policy.toml'), text)
  const directs = async (directive: 'cordon' | 'uncordon', name: string): Promise<void> => {
    const { code, stderr } = await skein([directive, name, '--data', home.dataDir])
    expect(code, stderr).toBe(0)
  }

  /** Answers that have begun on `owned`, with room on the other node by then. */
  async function answersOnOwned(): Promise<Answer[]> {
    await isEligible('owned')
    await directs('cordon', 'other')
    await is('other', 'is cordoned', ({ eligible }) => !eligible)
    const answers = PROMPTS.map((prompt) => new Answer(home.http, { model: ALIAS, prompt, maxTokens: TOKENS }))
    await eventually('all have begun', () => {
      const failed = answers.find(({ error }) => error !== undefined)
      if (failed) throw failed.error!
      return Promise.resolve(answers.every(({ deltas }) => deltas.length > 3) || undefined)
    })
    for (const answer of answers) expect(answer.node).toBe('owned')
    await directs('uncordon', 'other')
    await isEligible('other')
    return answers
  }

  /** Each went on at the other node by a planned move, and is whole. */
  async function expectMoved(answers: readonly Answer[]): Promise<void> {
    for (const answer of answers) {
      await answer.ended
      const heard = answer.comments.map(({ text }) => text).join(', ')
      expect(answer.error, heard).toBeUndefined()
      expect(answer.hasDone, heard).toBe(true)
      expect(answer.text).toBe(echoed(answer.question.prompt, TOKENS))
      expect(answer.completionTokens).toBe(TOKENS)
      expect(answer.node).toBe('other')
      const { attempts } = await get<Explanation>(`/tasks/${answer.taskId}/explain`)
      const told = JSON.stringify(attempts.map(({ candidates: _, ...attempt }) => attempt))
      expect(attempts[0], told).toMatchObject({ node: { name: 'owned' }, reason: 'first' })
      // a busy machine may be too slow to prepare one, which then is tried again: the source streams on meanwhile
      for (const attempt of attempts.slice(1)) expect(attempt, told).toMatchObject({ node: { name: 'other' }, reason: 'drain' }) // prettier-ignore
    }
  }

  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), 'skein-test-'))
    home = await start(['coordinator', '--name', 'home', '--http', '127.0.0.1:0'])
    const { stdout } = await skein(['invite', '--uses', '2', '--data', home.dataDir])
    const common = ['node', '--join', stdout.trim(), '--model', MODEL, '--slots', '8']
    const dataDir = await mkdtemp(join(tmpdir(), 'skein-test-'))
    await writeFile(join(dataDir, 'policy.toml'), '[hours]\nzone = "UTC"\nwindows = ["00:00-12:00"]\n')
    await plays({ wallMs: Date.parse('2026-11-21T09:00:00Z') })
    owned = await start([...common, '--name', 'owned', '--senses', join(scratch, 'senses.json')], dataDir)
    await start([...common, '--name', 'other'])
    await isEligible('owned')
    await isEligible('other')
  })
  afterAll(async () => {
    for (const process of started.reverse()) await process.kill()
    await rm(scratch, { recursive: true, force: true })
  })

  it('a window closes, on a clock that runs sixty times faster: running answers move, none is cut', async () => {
    const answers = await answersOnOwned()
    await plays({ wallMs: Date.parse('2026-11-21T11:57:00Z'), speed: 60 })
    const reason = 'outside its hours until sun 00:00'
    await owned.until((event) => event.event === 'policy' && event['reason'] === reason, 30_000)
    await is('owned', 'says why', ({ reasons }) => reasons.includes(`paused: ${reason}`))
    const listed = await skein(['nodes', '--data', home.dataDir])
    expect(listed.stdout).toContain(`paused: ${reason}`)
    await expectMoved(answers)
    // what comes now is explained by it
    const late = new Answer(home.http, { model: ALIAS, prompt: 'hi', maxTokens: 3 })
    await late.ended
    expect(late.node).toBe('other')
    const { attempts } = await get<Explanation>(`/tasks/${late.taskId}/explain`)
    expect(attempts[0]!.candidates).toContainEqual(expect.objectContaining({ name: 'owned', rejected: `paused: ${reason}` })) // prettier-ignore
    await plays({ wallMs: Date.parse('2026-11-22T09:00:00Z') })
    await isEligible('owned')
  })

  it('the plug is pulled: the same, under a policy that was saved while it runs', async () => {
    await plays({ power: 'mains' })
    await policy('reopen_after = "1s"\n[power]\nsource = "mains"\n')
    const answers = await answersOnOwned()
    await plays({ power: 'battery' })
    await is('owned', 'is paused', ({ reasons }) => reasons.includes('paused: on battery'))
    await expectMoved(answers)
    // the owner's own word is another matter: neither opens what the other has closed
    await directs('cordon', 'owned')
    await plays({ power: 'mains' })
    await is('owned', 'is cordoned alone', ({ reasons }) => reasons.includes('cordoned'))
    await directs('uncordon', 'owned')
    await isEligible('owned')
  })

  it('skein pause and skein resume are noticed at once', async () => {
    await plays({})
    await policy('')
    const answers = await answersOnOwned()
    const paused = await skein(['pause', '--for', '2h', '--data', owned.dataDir])
    expect(paused.code, paused.stderr).toBe(0)
    expect(paused.stdout).toMatch(/^paused until (\w{3} )?\d\d:\d\d;/)
    await is('owned', 'is paused', ({ reasons }) => reasons.some((each) => each.startsWith('paused: paused by its owner until '))) // prettier-ignore
    await expectMoved(answers)
    const shown = await skein(['config', 'show', '--json', '--data', owned.dataDir])
    const { settings } = JSON.parse(shown.stdout) as { settings: { setting: string; origin: string }[] }
    expect(settings).toContainEqual(expect.objectContaining({ setting: 'paused', origin: 'pause' }))
    const resumed = await skein(['resume', '--data', owned.dataDir])
    expect(resumed.stdout).toContain('resumed')
    await isEligible('owned')
    expect((await skein(['resume', '--data', owned.dataDir])).stdout).toContain('was not paused')
  })

  it('a file with an error changes nothing, and is named everywhere', async () => {
    await policy('[power]\nsource = "mains"\n')
    await plays({ power: 'mains' })
    await policy('[power]\n\nsource = "sun"\n')
    const said = await owned.until((event) => event.event === 'policy' && event['state'] === 'invalid', 30_000)
    const wrong = 'policy.toml, line 3: power.source is "sun"; allowed: "any" or "mains"'
    expect(said['message']).toContain(wrong)
    await isEligible('owned')
    const doctor = await skein(['doctor', '--json', '--data', owned.dataDir], { timeoutMs: 60_000 })
    const { findings } = JSON.parse(doctor.stdout) as { findings: { check: string; detail: string }[] }
    const found = findings.find(({ check }) => check === 'policy')
    expect(found).toMatchObject({ verdict: 'failure', detail: expect.stringContaining(wrong) as string })
    const shown = await skein(['config', 'show', '--origin', '--data', owned.dataDir])
    expect(shown.code).toBe(2)
    expect(shown.stderr).toContain(wrong)
    await policy('')
    await owned.until((event) => event.event === 'policy' && event['state'] === 'valid', 30_000)
  })
})

describe('skein config show', () => {
  it('says of every setting what holds and where it comes from, and tells no key', async () => {
    const dataDir = await mkdtemp(join(tmpdir(), 'skein-test-'))
    await writeFile(join(dataDir, 'policy.toml'), '[quota]\ntokens_per_day = 1000\n')
    process.env['SKEIN_THREADS'] = '3'
    const { code, stdout } = await skein(['config', 'show', '--json', '--slots', '7', '--api-key', 'secret-key', '--data', dataDir]) // prettier-ignore
    delete process.env['SKEIN_THREADS']
    expect(code).toBe(0)
    expect(stdout).not.toContain('secret-key')
    const { settings } = JSON.parse(stdout) as { settings: object[] }
    for (const expected of [
      { setting: 'slots', value: 7, origin: 'flag' },
      { setting: 'threads', value: 3, origin: 'environment', from: 'SKEIN_THREADS' },
      { setting: 'tier', value: 'edge', origin: 'default' },
      { setting: 'mdns', value: true, origin: 'default' },
      { setting: 'api-key', value: '(hidden)', origin: 'flag' },
      { setting: 'paused', value: false, origin: 'default' },
      { setting: 'policy quota.tokens_per_day', value: 1000, origin: 'file', from: 'policy.toml' },
      { setting: 'policy power.source', value: 'any', origin: 'default' },
    ])
      expect(settings).toContainEqual(expected)
    await rm(dataDir, { recursive: true, force: true })
  })

  it.each([[['pause', '--for', 'soon']], [['config', 'hide']]])('%j is a wrong command', async (args) => {
    expect((await skein(args)).code).toBe(2)
  })
})
