/** One answer from its question to its end: kept, stopped, refused, gone on with, come back to. */
import { beforeEach, describe, expect, it } from 'vitest'
import { DivergedError } from '../../../../clients/sdk/index.ts'
import type { Made, Problem } from '../../../../clients/web/answers/index.ts'
import { apiError, away, settled, World, type Tab } from './harness.ts'

let world: World
let tab: Tab

beforeEach(() => {
  world = new World()
  tab = world.tab()
})

const sent = async (text = 'Hi.', parentId?: string): Promise<string> => {
  const { answerId } = await tab.answers.send('chat', parentId, text)
  await settled()
  return answerId
}

describe('an answer', () => {
  it('is on the disk with its question before anything is sent, and streams to its end', async () => {
    world.mesh.readiness = 'away'
    const { userId, answerId } = await tab.answers.send('chat', undefined, 'Hi.')
    expect(world.row(userId)).toMatchObject({ role: 'user', status: 'done', parts: [{ type: 'text', text: 'Hi.' }] })
    expect(world.row(answerId)).toMatchObject({ role: 'assistant', status: 'queued', parentId: userId, model: 'm' })
    expect(world.mesh.asked).toEqual([])

    world.mesh.readiness = 'ready'
    tab.answers.poke()
    await settled()
    tab.answers.poke()
    await settled()
    const { request, options } = world.mesh.last.begins()
    expect(request).toMatchObject({ model: 'm', localOnly: true, allowTruncated: true })
    expect(request.messages).toEqual([
      { role: 'system', content: 'Be short.' },
      { role: 'user', content: 'Hi.' },
    ])
    expect(options.idempotencyKey).toBe(answerId)

    const live = tab.answers.live(answerId)!
    world.mesh.last.thinks('Hm.').says('Geese ', 'fly.')
    await world.clock.pass(16)
    expect([live.phase.value, live.text.value, live.thought.value]).toEqual(['writing', 'Geese fly.', 'Hm.'])
    expect(tab.answers.running.value.has(answerId)).toBe(true)
    world.mesh.last.ends()
    await settled()
    expect(live.phase.value).toBe('done')
    expect(world.row(answerId)).toMatchObject({
      status: 'done',
      taskId: `task_${answerId}`,
      parts: [
        { type: 'thought', text: 'Hm.' },
        { type: 'text', text: 'Geese fly.' },
      ],
      made: { node: 'desk-pc', route: 'mesh', promptTokens: 5, completionTokens: 9, finish: 'stop' },
    })
    expect(tab.answers.running.value.size).toBe(0)
    expect(world.disk.kept.size).toBe(0)
  })

  it('follows on the conversation, without what failed, and shows attached texts to the model', async () => {
    const first = await sent('One?')
    world.mesh.last.begins().says('1').ends()
    await settled()
    const { answerId } = await tab.answers.send('chat', first, 'Two?', {
      attachments: [{ name: 'a.txt', text: '```\nhm' }],
    })
    await settled()
    expect(world.mesh.last.request.messages).toEqual([
      { role: 'system', content: 'Be short.' },
      { role: 'user', content: 'One?' },
      { role: 'assistant', content: '1' },
      { role: 'user', content: 'a.txt:\n````\n```\nhm\n````\n\nTwo?' },
    ])
    world.mesh.last.fails(apiError('model_not_found', 404))
    await settled()
    const again = await tab.answers.ask('chat', world.row(answerId).parentId!, { model: 'other' })
    await settled()
    expect(world.mesh.last.request).toMatchObject({ model: 'other' })
    expect(world.row(again).parentId).toBe(world.row(answerId).parentId)
  })

  it('is kept every half second at most, and whole at its end', async () => {
    await sent()
    world.mesh.last.begins()
    for (let i = 0; i < 100; i++) {
      world.mesh.last.says('x')
      await world.clock.pass(20)
    }
    expect(world.disk.writes.map((text) => text.length)).toEqual([25, 50, 75, 100])
    world.mesh.last.ends()
    await settled()
    expect(world.disk.writes.at(-1)).toHaveLength(100)
  })

  it('shows what the mesh is at, and where it moved', async () => {
    const id = await sent()
    const live = tab.answers.live(id)!
    const note = async (status: string): Promise<unknown> => {
      world.mesh.last.tells(status)
      await world.clock.pass(16)
      return live.note.value
    }
    expect(await note('queued 2')).toEqual({ kind: 'queued', place: 2 })
    expect(await note('loading 43%')).toEqual({ kind: 'loading', percent: 43 })
    world.mesh.last.begins({ node: 'laptop' }).says('Geese ')
    expect(await note('node lost, looking for another')).toEqual({ kind: 'moving', reason: 'lost', to: undefined })
    expect(await note('node lost, resuming on desk-pc')).toEqual({ kind: 'moving', reason: 'lost', to: 'desk-pc' })
    world.mesh.last.says('fly.')
    await world.clock.pass(16)
    expect(live.note.value).toBeUndefined()
    expect(live.made.value.moves).toMatchObject([{ from: 'laptop', to: 'desk-pc', reason: 'lost' }])

    const attempt = { route: 'mesh' as const, code: undefined }
    world.mesh.tasks.set(`task_${id}`, {
      id: `task_${id}`,
      state: 'completed',
      attempts: [
        { ...attempt, node: 'laptop', reason: 'first', atMs: 1 },
        { ...attempt, node: 'desk-pc', reason: 'lost', atMs: 2 },
      ],
      timing: { queuedMs: 10, firstTokenMs: 90, decodeMs: 400 },
    })
    world.mesh.last.ends()
    await settled()
    expect(world.row(id).made).toMatchObject({
      ...{ attempts: 2, node: 'desk-pc', tokensPerS: 20, firstTokenMs: 100 },
      moves: [{ from: 'laptop', to: 'desk-pc', reason: 'lost', atMs: 2 }],
    })
  })

  it('of a chat without a model is asked of the first that chats, and says so', async () => {
    world.chat('chat', { model: '' })
    const id = await sent()
    expect(world.mesh.last.request.model).toBe('first')
    expect(world.row(id).model).toBe('first')
  })
})

describe('stopping', () => {
  it('keeps what there is, and tells the mesh', async () => {
    const id = await sent()
    world.mesh.last.begins().says('Geese ')
    await world.clock.pass(16)
    await tab.answers.stop(id)
    await settled()
    expect(world.row(id)).toMatchObject({ status: 'stopped', parts: [{ type: 'text', text: 'Geese ' }] })
    expect(world.mesh.cancelled).toEqual([`task_${id}`])
    expect(world.disk.kept.size).toBe(0)
  })

  it('before the mesh has answered waits a moment for the name of the task', async () => {
    const id = await sent()
    await tab.answers.stop(id)
    expect(tab.answers.live(id)!.phase.value).toBe('stopped')
    world.mesh.last.begins()
    await settled()
    expect(world.mesh.cancelled).toEqual([`task_${id}`])
    const other = await sent()
    await tab.answers.stop(other)
    await world.clock.pass(1500)
    expect(world.row(other).status).toBe('stopped')
    expect(world.mesh.cancelled).toHaveLength(1)
  })
})

describe('a refusal', () => {
  const problem = async (code: string, status: number): Promise<Problem> => {
    const id = await sent()
    world.mesh.last.fails(apiError(code, status))
    await settled()
    expect(world.row(id).status).toBe('failed')
    return world.row(id).error as Problem
  }

  it('has a kind, and says what can be done', async () => {
    expect(await problem('unauthenticated', 401)).toMatchObject({ kind: 'key-needed', actions: ['key', 'retry'] })
    expect(await problem('model_not_found', 404)).toMatchObject({ kind: 'no-model', actions: ['model', 'retry'] })
    expect(await problem('no_eligible_node', 503)).toMatchObject({ kind: 'no-node' })
    expect(await problem('cloud_not_allowed', 403)).toMatchObject({ kind: 'policy' })
    expect(await problem('budget_exceeded', 402)).toMatchObject({ kind: 'budget' })
    expect(await problem('context_length_exceeded', 400)).toMatchObject({ kind: 'too-long' })
    expect(await problem('something_new', 418)).toMatchObject({ kind: 'request', code: 'something_new' })
    expect(await problem('internal', 500)).toMatchObject({ kind: 'failed', message: 'it said internal' })
  })

  it('that may pass is waited for, each for its time', async () => {
    const id = await sent()
    const live = tab.answers.live(id)!
    world.mesh.last.refuses('saturated', 3000)
    await world.clock.pass(16)
    expect(live.note.value).toEqual({ kind: 'saturated', againMs: 3000 })
    world.mesh.last.begins().says('ok').ends()
    await settled()
    expect(world.text(id)).toBe('ok')

    const other = await sent()
    world.mesh.last.refuses('local_only', 500)
    await world.clock.pass(2000)
    expect(world.row(other).status).toBe('running')
    await world.clock.pass(1000)
    world.mesh.last.refuses('local_only', 500)
    await settled()
    expect(world.row(other).error).toMatchObject({ kind: 'local-only' })
  })

  it('is retried in its place, as a task of its own', async () => {
    const id = await sent()
    world.mesh.last.fails(apiError('no_node', 503))
    await settled()
    expect(await tab.answers.retry(id)).toBe(id)
    await settled()
    expect(world.mesh.last.options.idempotencyKey).toBe(`${id}.1`)
    world.mesh.last.begins().says('ok').ends()
    await settled()
    expect(world.row(id)).toMatchObject({ status: 'done' })
  })
})

describe('going on', () => {
  it('makes the same answer again, shows it at once, and goes on behind it', async () => {
    world.chat('chat', { sampling: { maxTokens: 9 } })
    const id = await sent()
    world.mesh.last.begins().says('Geese fly ').ends({ finishReason: 'length' })
    await settled()
    const { seed } = world.mesh.last.request
    const on = await tab.answers.goOn(id)
    const live = tab.answers.live(on)!
    await settled()
    expect(live.text.value).toBe('Geese fly ')
    expect(world.row(on)).toMatchObject({ parentId: world.row(id).parentId, status: 'running' })
    expect(world.mesh.last.request).toMatchObject({ seed, maxTokens: 18, localOnly: true })
    world.mesh.last.begins().says('Geese ')
    await world.clock.pass(16)
    expect(live.text.value).toBe('Geese fly ')
    expect(live.note.value).toEqual({ kind: 'catching-up', done: 0.6 })
    world.mesh.last.says('fly sou', 'th.').ends()
    await settled()
    expect(live.note.value).toBeUndefined()
    expect(world.text(on)).toBe('Geese fly south.')
    expect((world.row(on).made as Made).seed).toBe(seed)
    expect(world.text(id)).toBe('Geese fly ')
  })
})

describe('a break', () => {
  it('of a task that is gone asks for the same answer under another name', async () => {
    const id = await sent()
    const { seed } = world.mesh.last.begins().says('Geese ').request
    world.mesh.last.fails(apiError('client_closed'))
    await settled()
    expect(world.mesh.last.options.idempotencyKey).toBe(`${id}.1`)
    expect(world.mesh.last.request.seed).toBe(seed)
    world.mesh.last.begins().says('Gee')
    await world.clock.pass(16)
    expect(tab.answers.live(id)!.text.value).toBe('Geese ')
    world.mesh.last.says('se fly.').ends()
    await settled()
    expect(world.text(id)).toBe('Geese fly.')
  })

  it('after which another answer comes shows that one, whole', async () => {
    const id = await sent()
    world.mesh.last.begins().says('Geese ').fails(new DivergedError('another answer'))
    await settled()
    expect(world.mesh.last.options.idempotencyKey).toBe(id)
    world.mesh.last.begins().says('Ducks ', 'swim.').ends()
    await settled()
    expect(world.text(id)).toBe('Ducks swim.')
  })

  it('without anybody who answers waits for them, and is no failure', async () => {
    const id = await sent()
    const live = tab.answers.live(id)!
    world.mesh.last.begins().says('Geese ')
    world.mesh.readiness = 'away'
    world.mesh.last.fails(away())
    await world.clock.pass(60_000)
    expect(live.note.value).toEqual({ kind: 'reconnecting' })
    expect(world.row(id).status).toBe('running')
    expect(tab.answers.isReachable.value).toBe(false)
    world.mesh.readiness = 'ready'
    tab.answers.poke()
    await settled()
    expect(world.mesh.last.options.idempotencyKey).toBe(id)
    world.mesh.last.begins().says('Geese fly.').ends()
    await settled()
    expect(world.text(id)).toBe('Geese fly.')
  })

  it('that nobody tells of, such as sleep, is noticed by the silence', async () => {
    const id = await sent()
    const first = world.mesh.last.begins().says('Geese ')
    for (let i = 0; i < 4; i++) {
      await world.clock.pass(10_000)
      first.options.onAlive?.()
    }
    expect(world.mesh.asked).toHaveLength(1)
    await world.clock.pass(61_000)
    expect(world.mesh.asked.length).toBeGreaterThan(1)
    expect(world.mesh.last.options.idempotencyKey).toBe(id)

    const asked = world.mesh.asked.length
    world.mesh.last.begins()
    await world.clock.pass(13_000)
    tab.answers.poke()
    await settled()
    expect(world.mesh.asked).toHaveLength(asked + 1)
    world.mesh.last.begins().says('Geese fly.').ends()
    await settled()
    expect(world.text(id)).toBe('Geese fly.')
  })

  it('that never ends well is a failure at last', async () => {
    const id = await sent()
    for (let i = 0; i < 5; i++) {
      world.mesh.last.begins().says('Geese ').fails(apiError('client_closed'))
      await settled()
    }
    expect(world.row(id)).toMatchObject({ status: 'failed', error: { kind: 'interrupted' } })
    expect(world.text(id)).toBe('Geese ')
  })
})

describe('devices', () => {
  it('are asked for where the chat says so; calls are shown as they come and kept as they ended', async () => {
    world.chat('chat', { devices: 'act' })
    const id = await sent()
    const live = tab.answers.live(id)!
    expect(world.mesh.last.request).toMatchObject({ devices: 'act', localOnly: true })
    world.mesh.last
      .begins()
      .tells('call greenhouse.vent {"value":true}')
      .tells('confirm call_9 greenhouse.vent {"value":true}')
    await world.clock.pass(16)
    expect(live.calls.value).toEqual([
      { tool: 'greenhouse.vent', arguments: '{"value":true}', state: 'confirm', call: 'call_9' },
    ])
    await tab.answers.confirm('call_9', true)
    expect(world.mesh.confirmed).toEqual([{ call: 'call_9', approve: true }])
    world.mesh.last.tells('set greenhouse.vent: true')
    await world.clock.pass(16)
    expect(live.calls.value).toMatchObject([{ state: 'ended', outcome: 'done', value: 'true' }])
    const call = { tool: 'greenhouse.vent', arguments: '{"value":true}', outcome: 'done', value: true, call: 'call_9' }
    world.mesh.last.says('It is open.').ends({ deviceCalls: [call] })
    await settled()
    expect(world.row(id).parts).toEqual([
      {
        type: 'call',
        call: { tool: 'greenhouse.vent', arguments: '{"value":true}', state: 'ended', outcome: 'done', value: true },
      },
      { type: 'text', text: 'It is open.' },
    ])
  })

  it('that had not ended when their answer failed or was stopped do not look as if they went on', async () => {
    world.chat('chat', { devices: 'act' })
    const id = await sent()
    const live = tab.answers.live(id)!
    world.mesh.last
      .begins()
      .tells('call greenhouse.vent {"value":true}')
      .tells('confirm call_9 greenhouse.vent {"value":true}')
    world.mesh.last.tells('call greenhouse.temperature {}').fails(apiError('attempts_exhausted', 503))
    await settled()
    expect([live.phase.value, live.note.value]).toEqual(['failed', undefined])
    expect(tab.answers.running.value.size).toBe(0)
    const ended = { state: 'ended', outcome: 'unknown' }
    expect(live.calls.value).toEqual([
      { tool: 'greenhouse.vent', arguments: '{"value":true}', ...ended },
      { tool: 'greenhouse.temperature', arguments: '{}', ...ended },
    ])
    expect(world.row(id)).toMatchObject({ status: 'failed', parts: [{ call: ended }, { call: ended }] })

    const other = await sent()
    world.mesh.last.begins().tells('call greenhouse.temperature {}')
    await world.clock.pass(16)
    await tab.answers.stop(other)
    await settled()
    expect(world.row(other)).toMatchObject({ status: 'stopped', parts: [{ call: ended }] })
  })

  it('are never asked twice: an answer that breaks is a failure, and so after a reload', async () => {
    world.chat('chat', { devices: 'read' })
    const id = await sent()
    world.mesh.last.begins().says('It is ').fails(away())
    await settled()
    expect(world.row(id)).toMatchObject({ status: 'failed', error: { kind: 'interrupted' } })
    const other = await sent()
    world.mesh.last.begins().tells('call greenhouse.vent {"value":true}').tells('set greenhouse.vent: true')
    world.mesh.last.tells('call greenhouse.temperature {}').says('It is ')
    await world.clock.pass(600)
    tab.close()
    tab = world.tab()
    await tab.answers.resumeAll()
    await settled()
    expect(world.row(other)).toMatchObject({ status: 'failed', error: { kind: 'interrupted' } })
    expect(world.text(other)).toBe('It is ')
    expect(world.mesh.asked).toHaveLength(2)
    // what was done is told all the same
    expect(world.row(other).parts).toMatchObject([
      { call: { tool: 'greenhouse.vent', outcome: 'done', value: 'true' } },
      { call: { tool: 'greenhouse.temperature', state: 'ended', outcome: 'unknown' } },
      { type: 'text' },
    ])
  })

  it('an answer is shown as ended once it is kept: a page that is left then has lost nothing', async () => {
    world.chat('chat', { devices: 'act' })
    const id = await sent()
    const live = tab.answers.live(id)!
    const kept: string[] = []
    const stopWatching = live.phase.subscribe((phase) => {
      if (phase === 'done') kept.push(world.row(id).status)
    })
    world.mesh.last.begins().tells('call greenhouse.vent {"value":true}').tells('set greenhouse.vent: true')
    world.mesh.last.says('It is open.').ends()
    await settled()
    stopWatching()
    expect(kept).toEqual(['done'])
    expect(world.row(id).parts).toMatchObject([{ call: { outcome: 'done' } }, { text: 'It is open.' }])
  })
})
