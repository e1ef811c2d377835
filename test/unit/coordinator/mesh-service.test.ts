/** Admission: what a request becomes, what two requests with one key become, and what is known of a task afterwards. */
import { beforeEach, describe, expect, it } from 'vitest'
import { asRequestId, asTaskId, GREEDY } from '../../../mesh/protocol/index.ts'
import type { TaskRequest } from '../../../coordinator/admission/index.ts'
import { accept, ANSWER, answers, DispatchHarness, end, TEXT, tokensFrom, type Script } from './dispatch.harness.ts'

const never = new AbortController().signal
const request = (init: Partial<TaskRequest> = {}): TaskRequest => ({
  requestId: asRequestId('req_1'),
  model: 'tiny',
  prompt: { kind: 'text', text: 'why' },
  sampling: GREEDY,
  stop: [],
  tenant: 'local',
  attachment: 'attached',
  shape: '{}',
  ...init,
})
const keyed = (bodyDigest: string, init: Partial<TaskRequest> = {}): TaskRequest =>
  request({ attachment: 'resumable', idempotency: { key: 'once', bodyDigest }, ...init })

describe('CoordinatorService', () => {
  let harness: DispatchHarness
  beforeEach(() => {
    harness = new DispatchHarness()
  })

  it('admits durably while the task already runs', async () => {
    harness.node('good', 100, [answers])
    const handle = await harness.service().submit(request(), never)
    const following = harness.follow(handle)
    await harness.settled(handle.admitted)
    await following.over(1)
    expect(following.text).toBe(TEXT)
    expect((await harness.settled(harness.ledger.task(handle.taskId)))?.spec.model).toBe('tiny')
  })

  it('what the client does not name is as the makers of the model recommend, else as at OpenAI', async () => {
    harness.node('good', 100, [answers], { model: { sampling: { temperature: 0.3, topK: 40 } } })
    const handle = await harness.service().submit(request({ sampling: { topK: 5, seed: 7 } }), never)
    await harness.follow(handle).over(1)
    expect(harness.begins[0]).toMatchObject({
      sampling: { temperature: 0.3, topK: 5, topP: 1, minP: 0, presencePenalty: 0, frequencyPenalty: 0, seed: 7 },
    })
  })

  it('knows where the answer of a model that thinks has its thought, and keeps that', async () => {
    const thinking = { open: '<think>', close: '</think>', opens: { unsaid: true, on: true, off: false } }
    harness.node('good', 100, [answers, answers, answers], { model: { thinking } })
    const service = harness.service()
    const thoughtOf = async (overrides: Parameters<typeof request>[0]) => {
      const handle = await service.submit(request(overrides), never)
      await harness.follow(handle).over(1)
      await harness.settled(handle.admitted)
      expect((await harness.settled(harness.ledger.task(handle.taskId)))?.spec.thought).toEqual(handle.thought)
      expect((await service.task(handle.taskId)).thought).toEqual(handle.thought)
      return handle.thought
    }
    const messages = [{ role: 'user' as const, content: 'x' }]
    const marks = { open: '<think>', close: '</think>' }
    expect(await thoughtOf({ prompt: { kind: 'chat', messages } })).toEqual({ ...marks, isOpen: true })
    expect(await thoughtOf({ prompt: { kind: 'chat', messages, thinking: { isOn: false } } })).toEqual({
      ...marks,
      isOpen: false,
    })
    expect(await thoughtOf({ prompt: { kind: 'text', text: 'x' } })).toBeUndefined()
    expect(service.models()[0]!.features).toContain('thinking')
  })

  it('a task that cannot be made durable is not acknowledged, and does not go on', async () => {
    harness.node('good', 100, [slow])
    harness.ledger.failWrites('the disk is full')
    const handle = await harness.service().submit(request(), never)
    const following = harness.follow(handle)
    await expect(harness.settled(handle.admitted)).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
    await following.over(1)
    expect(following.error).toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
  })

  const slow: Script = async (channel, start) => {
    await accept(channel, start)
    await new Promise<void>((resolve) => void harness.clock.timer(3000, resolve))
    await tokensFrom(channel, start.fence, 0, ANSWER.length)
    await end(channel, start)
  }

  it('the same key and body is the same task, running and ended', async () => {
    harness.node('good', 100, [slow])
    const service = harness.service()
    const one = await harness.settled(service.submit(keyed('a'), never))
    const two = await harness.settled(service.submit(keyed('a'), never))
    expect([one.isNew, two.isNew]).toEqual([true, false])
    expect(two.taskId).toBe(one.taskId)
    const both = [harness.follow(one), harness.follow(two, 0)]
    for (const following of both) expect((await following.over()).text).toBe(TEXT)
    expect(harness.begins.length).toBe(1)
    await harness.clock.advance(60_000)
    const three = await harness.settled(service.submit(keyed('a'), never))
    expect(three.taskId).toBe(one.taskId)
    expect((await harness.follow(three, 3).over()).text).toBe(ANSWER.slice(3).join(''))
    for (const handle of [one, two, three])
      expect([0, 3, ANSWER.length].map((at) => handle.textBefore(at))).toEqual(['', ANSWER.slice(0, 3).join(''), TEXT])
    expect(harness.begins.length).toBe(1)
  })

  it('knows what a task was asked, running and ended, until its texts are deleted', async () => {
    harness.node('good', 100, [slow, answers])
    const service = harness.service()
    const { prompt } = request()
    const ask = async () => {
      const handle = await service.submit(request({ attachment: 'background', stored: true }), never)
      await harness.settled(handle.admitted)
      return handle
    }
    const one = await ask()
    expect(await harness.settled(service.promptOf(one.taskId))).toEqual(prompt)
    // one that runs is cancelled before
    await harness.settled(service.erase(one.taskId))
    const gone = await harness.settled(service.task(one.taskId))
    expect(gone).toMatchObject({ state: 'cancelled', isPurged: true, text: '', stored: true })
    await expect(harness.settled(service.promptOf(one.taskId))).rejects.toMatchObject({ code: 'NOT_FOUND' })
    const two = await ask()
    await harness.follow(two).over(1)
    // from the ledger, as after a restart
    await harness.clock.advance(60_000)
    expect(await harness.settled(service.promptOf(two.taskId))).toEqual(prompt)
    await harness.settled(service.erase(two.taskId))
    await harness.settled(service.erase(two.taskId))
    expect(await harness.settled(service.task(two.taskId))).toMatchObject({
      state: 'completed',
      isPurged: true,
      text: '',
    })
    await expect(harness.settled(service.erase(asTaskId('task_x')))).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('what ended and could not be recorded is not deleted', async () => {
    harness.node('good', 100, [answers])
    const service = harness.service()
    const handle = await service.submit(request({ attachment: 'background', stored: true }), never)
    await harness.settled(handle.admitted)
    harness.ledger.failWrites('the disk is full')
    await harness.follow(handle).over(1)
    await expect(harness.settled(service.erase(handle.taskId))).rejects.toMatchObject({ code: 'LEDGER_UNAVAILABLE' })
    expect((await service.task(handle.taskId)).text).toBe(TEXT)
  })

  it('two that come at once with one key are one task', async () => {
    harness.node('good', 100, [answers], { model: { slots: 4 } })
    const service = harness.service()
    const [one, two] = await harness.settled(
      Promise.all([service.submit(keyed('a'), never), service.submit(keyed('a'), never)]),
    )
    expect(two.taskId).toBe(one.taskId)
    await harness.follow(one).over()
    expect(harness.begins.length).toBe(1)
  })

  it('the same key with another body is refused, for that tenant only', async () => {
    harness.node('good', 100, [answers], { model: { slots: 4 } })
    const service = harness.service()
    await harness.settled(service.submit(keyed('a'), never))
    await expect(harness.settled(service.submit(keyed('b'), never))).rejects.toMatchObject({
      code: 'IDEMPOTENCY_MISMATCH',
    })
    const other = await harness.settled(service.submit(keyed('b', { tenant: 'other' }), never))
    expect(other.isNew).toBe(true)
  })

  it('shows a task running and ended, with its attempts', async () => {
    harness.node('good', 100, [slow])
    const service = harness.service()
    const { taskId } = await harness.settled(service.submit(keyed('a', { priority: 'bulk' }), never))
    await harness.clock.advance(100)
    expect(await service.task(taskId)).toMatchObject({ state: 'running', priority: 'bulk', tokens: 0 })
    await harness.clock.advance(60_000)
    const view = await harness.settled(service.task(taskId))
    expect(view).toMatchObject({ state: 'completed', text: TEXT, tokens: ANSWER.length })
    expect(view.attempts[0]).toMatchObject({
      assigned: { reason: 'first', node: { name: 'good' }, predicted: { totalMs: expect.any(Number) } },
      ended: { outcome: 'completed', to: ANSWER.length, observed: { acceptMs: expect.any(Number) } },
    })
    expect(view.attempts[0]!.assigned.candidates).toHaveLength(1)
    expect((await harness.settled(service.tasks({ limit: 10 })))[0]).toMatchObject({ taskId, state: 'completed' })
    await expect(harness.settled(service.task(asTaskId('task_none')))).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })

  it('cancels on request, once and for all', async () => {
    harness.node('good', 100, [slow])
    const service = harness.service()
    const { taskId } = await harness.settled(service.submit(request({ attachment: 'background' }), never))
    const view = await harness.settled(service.cancel(taskId))
    expect(view).toMatchObject({
      state: 'cancelled',
      result: { outcome: 'cancelled', error: { code: 'CLIENT_CLOSED' } },
    })
    expect((await harness.settled(service.cancel(taskId))).state).toBe('cancelled')
  })

  it('refuses a deadline that the wait alone would use up', async () => {
    harness.node('slow', 1, [slow])
    const service = harness.service()
    harness.follow(await service.submit(request(), never))
    await harness.until(() => harness.begins.length === 1)
    await expect(service.submit(request({ deadlineMs: 500 }), never)).rejects.toMatchObject({
      code: 'DEADLINE_UNREACHABLE',
      retryAfterSeconds: expect.any(Number),
    })
  })
})
