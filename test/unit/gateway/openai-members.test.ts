/** The table of OpenAI's members in docs/API.md against the official client's types, and against what the gateway does. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TWIN_DIGEST, TWIN_NODE, type TwinCall } from '../../fixtures/mesh-service-twin.ts'
import { createHarness, type Harness } from './harness.ts'

const APIS = ['chat', 'completions', 'responses', 'embeddings'] as const
type Api = (typeof APIS)[number]
type State = 'honoured' | 'no effect' | 'refused'

const read = (path: string): string => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8')

/** State of each member, by API. */
function documented(): Readonly<Record<Api, ReadonlyMap<string, State>>> {
  const section = read('docs/API.md').split("### OpenAI's members")[1]!.split('\n## ')[0]!
  const rows = [...section.matchAll(/^\| `(\w+)` \|(.*)\|$/gm)].map(
    ([, name, cells]) => [name!, cells!.split('|').map((cell) => cell.trim())] as const,
  )
  return Object.fromEntries(
    APIS.map((api, i) => [
      api,
      new Map(rows.flatMap(([name, cells]) => (cells[i] === '' ? [] : [[name, cells[i] as State] as const]))),
    ]),
  ) as unknown as Readonly<Record<Api, ReadonlyMap<string, State>>>
}

/** Members of an interface of the official client. */
function membersOf(path: string, name: string): string[] {
  const text = read(`node_modules/openai/resources/${path}.d.ts`)
  const body = text.split(`export interface ${name} {\n`)[1]!.split('\n}\n')[0]!
  return [...body.matchAll(/^ {4}(\w+)\??:/gm)].map(([, member]) => member!)
}

const CLIENT: Readonly<Record<Api, string[]>> = {
  chat: membersOf('chat/completions/completions', 'ChatCompletionCreateParamsBase'),
  completions: membersOf('completions', 'CompletionCreateParamsBase'),
  responses: membersOf('responses/responses', 'ResponseCreateParamsBase'),
  embeddings: membersOf('embeddings', 'EmbeddingCreateParams'),
}

const ROUTES: Readonly<Record<Api, string>> = {
  chat: '/v1/chat/completions',
  completions: '/v1/completions',
  responses: '/v1/responses',
  embeddings: '/v1/embeddings',
}

const BASES: Readonly<Record<Api, object>> = {
  chat: { model: 'tiny', messages: [{ role: 'user', content: 'hi' }] },
  completions: { model: 'tiny', prompt: 'hi' },
  responses: { model: 'tiny', input: 'hi' },
  embeddings: { model: 'tiny', input: 'hi', encoding_format: 'float' },
}

const tool = { type: 'function', function: { name: 'say' } }
const flat = { type: 'function', name: 'say' }

/** A value that asks for something, by member; an array is [what it needs beside it, the value]. */
const PROBES: Readonly<Record<string, readonly [object, unknown]>> = {
  access_programs: [{}, { trusted_access: true }],
  audio: [{}, { voice: 'x', format: 'wav' }],
  background: [{}, true],
  best_of: [{}, 2],
  context_management: [{}, [{ type: 'compaction' }]],
  conversation: [{}, 'conv_1'],
  dimensions: [{}, 1],
  echo: [{}, true],
  encoding_format: [{}, 'base64'],
  frequency_penalty: [{}, 0.5],
  function_call: [{}, { name: 'say' }],
  functions: [{}, [{ name: 'say' }]],
  image: [{}, { size: 'auto' }],
  include: [{}, ['message.output_text.logprobs']],
  input: [{}, 'another'],
  instructions: [{}, 'be brief'],
  logit_bias: [{}, { '5': 1 }],
  max_completion_tokens: [{}, 9],
  max_output_tokens: [{}, 9],
  max_tokens: [{}, 9],
  max_tool_calls: [{}, 2],
  messages: [{}, [{ role: 'user', content: 'another' }]],
  metadata: [{}, { a: 'b' }],
  modalities: [{}, ['text', 'audio']],
  model: [{}, 'org/tiny-chat'],
  moderation: [{}, { model: 'x' }],
  n: [{}, 2],
  prediction: [{}, { type: 'content', content: 'hello' }],
  presence_penalty: [{}, 0.5],
  previous_response_id: [{}, ''],
  prompt_cache_key: [{}, 'x'],
  prompt_cache_options: [{}, { mode: 'explicit' }],
  prompt_cache_retention: [{}, '24h'],
  reasoning: [{}, { effort: 'low' }],
  reasoning_effort: [{}, 'low'],
  response_format: [{}, { type: 'json_object' }],
  safety_identifier: [{}, 'x'],
  seed: [{}, 5],
  service_tier: [{}, 'flex'],
  stop: [{}, 'x'],
  store: [{}, false],
  stream: [{}, true],
  stream_options: [{ stream: true }, { include_usage: true, include_obfuscation: false }],
  suffix: [{}, 'x'],
  temperature: [{}, 0.5],
  text: [{}, { format: { type: 'json_object' }, verbosity: 'low' }],
  top_logprobs: [{ logprobs: true }, 2],
  top_p: [{}, 0.5],
  truncation: [{}, 'auto'],
  user: [{}, 'me'],
  verbosity: [{}, 'low'],
  web_search_options: [{}, {}],
}

/** Where the same member has another form. */
const OWN_PROBES: Readonly<Record<string, readonly [object, unknown]>> = {
  'chat logprobs': [{}, true],
  'completions logprobs': [{}, 2],
  'completions prompt': [{}, 'another'],
  'responses prompt': [{}, { id: 'pmpt_1' }],
  'chat store': [{}, true],
  'responses top_logprobs': [{ include: ['message.output_text.logprobs'] }, 2],
  'chat tools': [{}, [tool]],
  'responses tools': [{}, [flat]],
  'chat tool_choice': [{ tools: [tool] }, 'required'],
  'responses tool_choice': [{ tools: [flat] }, 'required'],
  'chat parallel_tool_calls': [{ tools: [tool] }, false],
  'responses parallel_tool_calls': [{ tools: [flat] }, false],
}

let h: Harness
beforeAll(() => {
  h = createHarness()
  h.twin.worker = async ({ work }) => {
    const { texts, dimensions = 2 } = work as Extract<typeof work, { kind: 'embed' }>
    const vector = new Uint8Array(new Float32Array(dimensions).fill(texts[0]!.length).buffer)
    return {
      digest: TWIN_DIGEST,
      result: { kind: 'embed', vectors: [vector], promptTokens: 1 },
      nodes: [TWIN_NODE],
      route: 'mesh',
      attempts: 1,
      timing: { queuedMs: 1, workMs: 1 },
    }
  }
})
afterAll(() => h.gateway.stop())

/** All that a request may change: the task or the work that it becomes, and its answer. Ids and times are left out. */
async function outcomeOf(api: Api, body: object): Promise<{ status: number; error: unknown; outcome: string }> {
  const answer = await h.post(ROUTES[api], body)
  const { error } = answer.headers['content-type']?.toString().includes('json') ? answer.json() : { error: undefined }
  const call: TwinCall | undefined = h.twin.calls.at(-1)
  const {
    requestId: _,
    shape: _shape,
    ...asked
  } = (api === 'embeddings' ? h.twin.works.at(-1) : call?.request) as {
    requestId?: unknown
    shape?: unknown
  }
  const told = answer.body.replace(/[a-z]+_?-?[a-z2-7]{24}/g, 'ID').replace(/"(created|completed)[a-z_]*":\w+/g, '')
  return { status: answer.statusCode, error, outcome: JSON.stringify(asked) + told }
}

describe.each(APIS)('members of %s', (api) => {
  const states = documented()[api]

  it('are those of the official client', () => {
    expect([...states.keys()].toSorted()).toEqual(CLIENT[api].toSorted())
  })

  it.each([...states])('%s: %s', async (member, state) => {
    const probe = OWN_PROBES[`${api} ${member}`] ?? PROBES[member]
    expect(probe, `a value to ask ${member} with`).toBeDefined()
    const [beside, given] = probe!
    const previous = member === 'previous_response_id'
    const value = previous ? (await h.post(ROUTES.responses, BASES.responses)).json().id : given
    const plain = await outcomeOf(api, { ...BASES[api], ...beside })
    expect(plain.status).toBe(200)
    const asked = await outcomeOf(api, { ...BASES[api], ...beside, [member]: value })
    if (state === 'refused') {
      expect(asked.status).toBe(400)
      expect(asked.error).toMatchObject({ code: 'unsupported_parameter', param: expect.stringMatching(`^${member}`) })
      return
    }
    expect(asked.status, JSON.stringify(asked.error)).toBe(200)
    if (state === 'no effect') expect(asked.outcome).toBe(plain.outcome)
    else expect(asked.outcome).not.toBe(plain.outcome)
  })
})
