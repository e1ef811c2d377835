/** Answers that go on behind their text: to nodes that know no token ids, and from them. */
import { beforeEach, describe, expect, it } from 'vitest'
import {
  LIMITS,
  packTokenIds,
  unpackTokenIds,
  type AttemptStart,
  type ModelCapability,
  type PeerId,
} from '../../../mesh/protocol/index.ts'
import { sleep } from '../../../mesh/runtime/index.ts'
import type { TaskSpec } from '../../../coordinator/ledger/index.ts'
import { saidFor } from '../../../coordinator/dispatch/going-on.ts'
import { rejectionOf, schedule, type GoesOn, type NodeSnapshot } from '../../../coordinator/scheduler/index.ts'
import { accept, ANSWER, answers, DispatchHarness, end, TEXT, type Script } from './dispatch.harness.ts'
import { capability, demand, leave, model, node, withModel } from './snapshots.ts'

const PIECE = 2 ** 31
const BY_IDS: Partial<ModelCapability> = { continues: 'ids' }
const BY_TEXT: Partial<ModelCapability> = { continues: 'text' }
const OLD: Partial<ModelCapability> = {}
const countOf = (start: AttemptStart): number => unpackTokenIds(start.generated)!.length

/** Says the words from where it is to begin up to `to`, as ids of a vocabulary or as pieces, and then dies or ends. */
const says =
  (kind: 'ids' | 'pieces', to = ANSWER.length): Script =>
  async (channel, start) => {
    await accept(channel, start)
    for (let i = countOf(start); i < to; i++) {
      const ids = packTokenIds([(kind === 'pieces' ? PIECE : 100) + i])
      await channel.send({ type: 'attempt.tokens', fence: start.fence, index: i, ids, text: ANSWER[i]! })
    }
    if (to === ANSWER.length) await end(channel, start)
    else await channel.close()
  }

const nodeThat = (continues: ModelCapability['continues'], more: Partial<NodeSnapshot> = {}): NodeSnapshot =>
  node('one', { ...withModel(model({ capability: capability(continues && { continues }) })), ...more })

describe('a node that an answer may go on at', () => {
  it.each<[ModelCapability['continues'], GoesOn, boolean]>([
    ['ids', { hasPieces: false, canSay: false }, true],
    ['ids', { hasPieces: true, canSay: true }, true],
    ['ids', { hasPieces: true, canSay: false }, false],
    ['text', { hasPieces: false, canSay: true }, true],
    ['text', { hasPieces: false, canSay: false }, false],
    [undefined, { hasPieces: false, canSay: false }, true],
    [undefined, { hasPieces: true, canSay: true }, false],
  ])('continuing by %s, of an answer of which %o holds: %s', (continues, goesOn, may) => {
    const why = may ? undefined : 'cannot go on with this answer'
    expect(rejectionOf(nodeThat(continues), demand({ goesOn }))).toBe(why)
    expect(rejectionOf(nodeThat(continues), demand()), 'one that has not begun').toBeUndefined()
  })

  it('is not there, and nothing can be waited for, when the only ones are in the cloud and cannot', () => {
    const far = nodeThat('text', { isCloud: true })
    const home = node('two', { isConnected: false })
    const begun = { goesOn: { hasPieces: false, canSay: false }, waitedMs: 10_000 }
    const codeFor = (nodes: readonly NodeSnapshot[], more: Parameters<typeof demand>[0]) => {
      const found = schedule({ nodes }, demand({ ...begun, ...more }), () => 0)
      return found.kind === 'unschedulable' ? found.code : found.kind
    }
    const mayLeave = { leave: leave({ hasBegun: true }) }
    expect(codeFor([far, home], mayLeave)).toBe('NOT_CONTINUABLE')
    // a node of the owner's that could, later
    expect(codeFor([far, node('two', { isSuspect: true })], mayLeave)).toBe('NO_ELIGIBLE_NODE')
    expect(codeFor([far, home], { localOnly: true })).not.toBe('NOT_CONTINUABLE')
    expect(codeFor([home], mayLeave)).toBe('NO_ELIGIBLE_NODE')
  })
})

describe('an answer that goes on', () => {
  let harness: DispatchHarness
  beforeEach(() => {
    harness = new DispatchHarness()
  })
  const starts = (): AttemptStart[] => harness.begins.filter((begin) => begin.type === 'attempt.start')
  const said = (): (string | undefined)[] => starts().map((start) => start.said)

  it.each<[string, Partial<ModelCapability>, 'ids' | 'pieces', Partial<ModelCapability>, string | undefined]>([
    ['by text behind pieces', BY_TEXT, 'pieces', BY_IDS, 'the geese fly '],
    ['by text at a node that has no ids', BY_IDS, 'ids', BY_TEXT, 'the geese fly '],
    ['by text among those that have none', BY_TEXT, 'pieces', BY_TEXT, 'the geese fly '],
    ['by ids where they mean the same', BY_IDS, 'ids', BY_IDS, undefined],
    ['by ids at an older node', OLD, 'ids', OLD, undefined],
  ])('%s', async (_, from, kind, to, expected) => {
    harness.node('source', 1000, [says(kind, 3)], { model: from })
    harness.node('target', 10, [says(to === BY_TEXT ? 'pieces' : 'ids')], { model: to })
    const following = await harness.run()
    expect(following.error).toBeUndefined()
    expect(following.text).toBe(TEXT)
    expect(following.indices).toEqual(ANSWER.map((_word, i) => i))
    expect(said()).toEqual([undefined, expected])
    expect(starts().map(countOf)).toEqual([0, 3])
  })

  it('is never sent to an older node behind pieces, which it would take for tokens', async () => {
    harness.node('source', 1000, [says('pieces', 3)], { model: BY_TEXT })
    harness.node('older', 500, [answers], { model: OLD })
    harness.node('newer', 10, [says('ids')], { model: BY_IDS })
    expect((await harness.run()).nodes).toEqual(['source', 'newer'])
    expect(harness.asked).not.toContain('older')
  })

  it.each<[string, Partial<TaskSpec>]>([
    ['held to a format', { format: { kind: 'json' } }],
    ['tells log probabilities', { logprobs: 1 }],
  ])('ends with why when it %s and only text is left', async (_, spec) => {
    const features: ModelCapability['features'] = ['completion', 'json', 'logprobs']
    const logprobs = 'logprobs' in spec ? [{ bytes: new Uint8Array(1), logprob: 0, top: [] }] : undefined
    const source: Script = async (channel, start) => {
      await accept(channel, start)
      const ids = packTokenIds([100])
      await channel.send({
        type: 'attempt.tokens',
        fence: start.fence,
        index: 0,
        ids,
        text: '{',
        ...(logprobs && { logprobs }),
      })
      await channel.close()
    }
    const node = harness.node('source', 1000, [source], { model: { ...BY_IDS, features } })
    harness.node('target', 10, [says('pieces')], { model: { ...BY_TEXT, features } })
    const run = await harness.submit(harness.task(spec))
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 1)
    lose(node.self.peerId)
    await following.over()
    expect(following.error).toMatchObject({ code: 'NOT_CONTINUABLE' })
    expect(harness.asked).toEqual(['source'])
  })

  it('begins anew where nothing of it was told', async () => {
    const features: ModelCapability['features'] = ['completion', 'json']
    const source: Script = async (channel, start) => {
      await accept(channel, start)
      await channel.send({ type: 'attempt.tokens', fence: start.fence, index: 0, ids: packTokenIds([100]), text: '' })
      await channel.close()
    }
    harness.node('source', 1000, [source], { model: { ...BY_IDS, features } })
    harness.node('target', 10, [says('pieces')], { model: { ...BY_TEXT, features } })
    const following = await harness.run(harness.task({ format: { kind: 'json' } }))
    expect(said()).toEqual([undefined, ''])
    expect(following.text).toBe(ANSWER.slice(1).join(''))
  })

  it('leaves out a node that says that it cannot, and asks the next', async () => {
    const cannot: Script = (channel, { fence }) =>
      channel.send({ type: 'attempt.failed', fence, code: 'NOT_CONTINUABLE', message: 'it has thought' })
    harness.node('source', 1000, [says('ids', 3)], { model: BY_IDS })
    harness.node('cannot', 100, [cannot], { model: BY_TEXT })
    harness.node('target', 10, [says('ids')], { model: BY_IDS })
    const following = await harness.run()
    expect(following.text).toBe(TEXT)
    expect(harness.asked).toEqual(['source', 'cannot', 'target'])
  })

  it('is moved behind its text when its source has none but pieces', async () => {
    const commits: unknown[] = []
    const source: Script = async (channel, start) => {
      await accept(channel, start)
      for (let i = 0; i < ANSWER.length; i++) {
        await sleep(harness.clock, 50)
        const ids = packTokenIds([PIECE + i])
        await channel
          .send({ type: 'attempt.tokens', fence: start.fence, index: i, ids, text: ANSWER[i]! })
          .catch(() => {})
      }
    }
    const target: Script = async (channel, start) => {
      await accept(channel, start)
      await channel.send({ type: 'attempt.prepared', fence: start.fence })
      const commit = await channel.receive()
      if (commit?.type !== 'attempt.commit') return
      commits.push(commit.said)
      const from = (start.generated.length + commit.generated.length) / 4
      for (let i = from; i < ANSWER.length; i++) {
        const ids = packTokenIds([100 + i])
        await channel.send({ type: 'attempt.tokens', fence: start.fence, index: i, ids, text: ANSWER[i]! })
      }
      await end(channel, start)
    }
    const node = harness.node('source', 1000, [source], { model: BY_TEXT })
    harness.node('older', 500, [target], { model: OLD })
    harness.node('target', 10, [target], { model: BY_IDS })
    const run = await harness.submit()
    const following = harness.follow(run)
    await harness.until(() => run.task.answer.length === 2)
    harness.directory.report(node.self.peerId, {
      sequence: 1,
      models: [],
      memoryFreeBytes: 0,
      cordoned: true,
      draining: true,
    })
    await following.over(1)
    expect(following.text).toBe(TEXT)
    expect(following.nodes).toEqual(['source', 'target'])
    expect(commits.every((text) => typeof text === 'string' && text !== '' && TEXT.startsWith(text))).toBe(true)
  })

  it('is known to be of pieces after a restart of the coordinator', async () => {
    const stops: Script = async (channel, start) => {
      await says('pieces', 3)(channel, start).catch(() => {})
    }
    harness.node('source', 1000, [stops], { model: BY_TEXT })
    const run = await harness.submit(harness.task({ attachment: 'background', stored: true }))
    await harness.until(() => run.task.answer.length === 3)
    run.checkpoint()
    await harness.until(() => harness.clock.pendingTimers >= 0, 50)
    await harness.clock.advance(100)
    await harness.restart()
    const [again] = harness.dispatcher.runs()
    expect(again!.task.answer.hasPieces).toBe(true)
    expect(saidFor(again!.task, 'ids', 3)).toBe('the geese fly ')
    expect(() => saidFor(again!.task, undefined, 3)).toThrowError(expect.objectContaining({ code: 'NOT_CONTINUABLE' }))
  })

  it('has its thought counted by all that it was made of', async () => {
    const thinking = { open: '<think>', close: '</think>', opens: { unsaid: false, on: false, off: false } }
    const words = ['<think>', 'hm', '</think>', 'well']
    const speaks =
      (kind: 'ids' | 'pieces', to: number): Script =>
      async (channel, start) => {
        await accept(channel, start)
        const base = kind === 'pieces' ? PIECE : 100
        for (let i = countOf(start); i < to; i++)
          await channel.send({
            type: 'attempt.tokens',
            fence: start.fence,
            index: i,
            ids: packTokenIds([base + i]),
            text: words[i]!,
          })
        if (to < words.length) return channel.close()
        await channel.send({
          type: 'attempt.end',
          fence: start.fence,
          finishReason: 'stop',
          text: '',
          // the node has seen its text alone, and counts all of it
          usage: { promptTokens: 3, cachedTokens: 0, completionTokens: 4, thoughtTokens: 4 },
          timing: { waitMs: 0, prefillMs: 0, decodeMs: 0 },
        })
        await channel.close()
      }
    harness.node('source', 1000, [speaks('pieces', 2)], { model: { ...BY_TEXT, thinking } })
    harness.node('target', 10, [speaks('ids', 4)], { model: { ...BY_IDS, thinking } })
    const prompt = { kind: 'chat' as const, messages: [{ role: 'user' as const, content: 'why' }] }
    const following = await harness.run(harness.task({ prompt }))
    const last = following.events.at(-1)
    expect(last).toMatchObject({ type: 'end', usage: { completionTokens: 4, thoughtTokens: 3 } })
  })

  it('cannot be told when it is too long', async () => {
    harness.node('source', 1000, [says('pieces', 1)], { model: BY_TEXT })
    const run = await harness.submit()
    await harness.until(() => run.task.answer.length === 1)
    run.task.answer.push([PIECE], 'x'.repeat(LIMITS.saidLengthMax))
    expect(() => saidFor(run.task, 'ids', 2)).toThrowError(expect.objectContaining({ code: 'NOT_CONTINUABLE' }))
    run.cancel(new TypeError('enough') as never)
  })

  function lose(peerId: PeerId): void {
    harness.directory.disconnected(peerId, harness.directory.entry(peerId)!.session)
  }
})
