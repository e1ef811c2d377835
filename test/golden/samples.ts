/** One frame of each kind with every field set: their bytes are kept in `wire-<version>.json`. */
import type { Frame, ModelDigest, PeerId, TaskId } from '../../mesh/protocol/index.ts'
import { packTokenIds } from '../../mesh/protocol/index.ts'

const PEER = '12D3KooWBCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuv' as PeerId
const TASK = 'task_abcdefghijklmnopqrstuvwx' as TaskId
const DIGEST = `sha256:${'0123456789abcdef'.repeat(4)}` as ModelDigest
const signed = { payload: Uint8Array.of(1, 2, 3), signature: new Uint8Array(64).fill(9) }
const share = (text: string, logprob: number) => ({ bytes: new TextEncoder().encode(text), logprob })
const failure = { code: 'CERTIFICATE_EXPIRED', message: 'the certificate is over' }
const sampling = {
  temperature: 0.7,
  topP: 0.9,
  topK: 40,
  minP: 0.05,
  presencePenalty: 0.5,
  frequencyPenalty: -0.5,
  seed: 0xffff_ffff,
}

export const SAMPLES: readonly Frame[] = [
  { type: 'join.request', version: 2, inviteId: 'invite_abc', secret: 'c2VjcmV0', name: 'desk-pc', roles: ['node'] },
  { type: 'join.renew', version: 2, certificate: signed },
  { type: 'join.granted', certificate: signed, revocations: signed },
  { type: 'join.refused', ...failure },
  { type: 'hello.certificate', version: 2, certificate: signed, revocations: signed },
  { type: 'hello.accepted' },
  { type: 'hello.refused', ...failure },
  { type: 'control.announce', capability: signed },
  {
    type: 'control.load',
    load: {
      sequence: 3,
      models: [{ digest: DIGEST, running: 2, prefillTokensPending: 512 }],
      memoryFreeBytes: 8 * 1024 ** 3,
      cordoned: true,
      draining: false,
    },
  },
  { type: 'control.heartbeat', sequence: 65_536 },
  { type: 'control.goodbye', reason: 'stopping' },
  { type: 'control.welcome', sequence: 12, coordinator: PEER, heartbeatIntervalMs: 500 },
  { type: 'control.revocations', revocations: signed },
  { type: 'control.held', attempts: [{ taskId: TASK, fence: 3 * 2 ** 20 + 7, index: 41, ended: true }] },
  { type: 'control.release', attempts: [{ taskId: TASK, fence: 3 * 2 ** 20 + 7 }] },
  { type: 'control.directive', directive: 'drain' },
  {
    type: 'attempt.start',
    taskId: TASK,
    attempt: 2,
    fence: 7,
    digest: DIGEST,
    prompt: { kind: 'chat', messages: [{ role: 'user', content: 'Grüße 🪿', name: 'a' }] },
    sampling,
    stop: ['\n\n'],
    maxTokens: 256,
    generated: packTokenIds([1, 50_000, 0xffff_ffff]),
    logprobs: 2,
    format: { kind: 'json-schema', schema: '{"type":"object"}' },
    hold: true,
  },
  {
    type: 'attempt.start',
    taskId: TASK,
    attempt: 1,
    fence: 0,
    digest: DIGEST,
    prompt: { kind: 'text', text: 'Once upon a time' },
    sampling: { ...sampling, temperature: 0 },
    stop: [],
    maxTokens: 1,
    generated: new Uint8Array(0),
    format: { kind: 'json' },
  },
  { type: 'attempt.attach', taskId: TASK, heldFence: 3 * 2 ** 20 + 7, fence: 4 * 2 ** 20 + 8, from: 41 },
  { type: 'attempt.commit', fence: 7, generated: packTokenIds([42, 43]) },
  { type: 'attempt.cancel', fence: 7 },
  { type: 'attempt.accepted', fence: 7 },
  { type: 'attempt.progress', fence: 7, phase: 'prefill', done: 100, total: 4096 },
  { type: 'attempt.progress', fence: 7, phase: 'decode', done: 5, total: 256 },
  { type: 'attempt.prepared', fence: 7 },
  { type: 'attempt.tokens', fence: 7, index: 3, ids: packTokenIds([42]), text: ' goose' },
  {
    type: 'attempt.tokens',
    fence: 7,
    index: 4,
    ids: packTokenIds([43]),
    text: ' 🪿',
    logprobs: [{ ...share(' 🪿', -0.25), top: [share(' 🪿', -0.25), share(' goose', -1.5)] }],
  },
  {
    type: 'attempt.end',
    fence: 7,
    finishReason: 'stop',
    text: '.',
    usage: { promptTokens: 10, cachedTokens: 4, completionTokens: 5 },
    timing: { waitMs: 0, prefillMs: 120, decodeMs: 900 },
  },
  { type: 'attempt.failed', fence: 7, code: 'INVALID_REQUEST', message: 'no such type', param: 'response_format' },
  {
    type: 'attempt.start',
    taskId: TASK,
    attempt: 1,
    fence: 1,
    digest: DIGEST,
    prompt: {
      kind: 'chat',
      messages: [
        { role: 'user', content: 'How warm?' },
        { role: 'assistant', content: '', toolCalls: [{ id: 'call_1', name: 'a.b', arguments: '{"unit":"C"}' }] },
        { role: 'tool', content: '17', toolCallId: 'call_1' },
      ],
      tools: [{ name: 'a.b', description: 'Reads it', parameters: '{"type":"object"}' }],
    },
    sampling,
    stop: [],
    maxTokens: 64,
    generated: new Uint8Array(0),
    format: { kind: 'tool-calls', choice: 'auto', name: 'a.b', callsMax: 2, content: { kind: 'json' } },
  },
]
