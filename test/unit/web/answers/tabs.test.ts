/** Reloads, several tabs, and what waits while nobody answers. */
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { GrowingText } from '../../../../clients/web/answers/live.ts'
import { toldBy } from '../../../../clients/web/answers/notes.ts'
import { tabMessageOf } from '../../../../clients/web/answers/tabs.ts'
import { settled, World, type Tab } from './harness.ts'

let world: World
let tab: Tab

beforeEach(() => {
  world = new World()
  tab = world.tab()
})

const sent = async (from: Tab, text = 'Hi.', parentId?: string, chat = 'chat'): Promise<string> => {
  const { answerId } = await from.answers.send(chat, parentId, text)
  await settled()
  return answerId
}

const questions = (): unknown[] => world.mesh.asked.map(({ request }) => request.messages.at(-1)!.content)

describe('a reload in the middle of an answer', () => {
  it('goes on with the same request under the same name, and shows what was there until it is caught up with', async () => {
    const id = await sent(tab)
    const before = world.mesh.last.begins().says('Geese ', 'fly ')
    await world.clock.pass(600)
    tab.close()
    // the chat has other settings now: the request that runs has those that it was asked with
    world.chat('chat', { system: 'Be long.', sampling: { temperature: 2 } })
    tab = world.tab()
    await tab.answers.resumeAll()
    await settled()
    const { request, options } = world.mesh.last
    expect(request).toEqual(before.request)
    expect(options.idempotencyKey).toBe(id)
    expect(tab.answers.live(id)!.text.value).toBe('Geese fly ')
    world.mesh.last.begins().says('Geese fly south.').ends()
    await settled()
    expect(world.row(id)).toMatchObject({ status: 'done' })
    expect(world.text(id)).toBe('Geese fly south.')
  })

  it('ends what was stopped, and what was never written down', async () => {
    const id = await sent(tab)
    world.mesh.last.begins().says('Geese ')
    await world.clock.pass(600)
    const kept = world.disk.kept.get(id)!
    world.disk.kept.set(id, { ...kept, body: { ...(kept.body as object), isStopped: true } })
    await world.disk.insert([
      {
        id: 'orphan',
        chatId: 'chat',
        parentId: world.row(id).parentId,
        role: 'assistant',
        parts: [],
        status: 'queued',
        createdAtMs: world.clock.nowMs() - 61_000,
      },
    ])
    tab.close()
    tab = world.tab()
    await tab.answers.resumeAll()
    await settled()
    expect(world.row(id).status).toBe('stopped')
    expect(world.text(id)).toBe('Geese ')
    expect(world.row('orphan').status).toBe('stopped')
    expect(world.mesh.asked).toHaveLength(1)
  })

  it('drops what is no request of ours', async () => {
    world.disk.kept.set('x', { id: 'x', chatId: 'chat', order: 1, body: ['?'] })
    await tab.answers.resumeAll()
    expect(tab.answers.outbox.value).toEqual([])
    expect(world.mesh.asked).toEqual([])
  })
})

describe('the outbox', () => {
  it('has what nobody takes, sends it in its order, and survives a reload', async () => {
    world.chat('other')
    world.mesh.readiness = 'away'
    const one = await sent(tab, 'one')
    const two = await sent(tab, 'two', one)
    const three = await sent(tab, 'three', undefined, 'other')
    await world.clock.pass(5000)
    const items = (): unknown[] => tab.answers.outbox.value.map(({ messageId }) => messageId)
    expect(items()).toEqual([one, two, three])
    expect(tab.answers.outbox.value.map(({ waitsForOther }) => waitsForOther)).toEqual([false, true, false])
    expect(tab.answers.live(one)!.phase.value).toBe('outbox')
    expect(world.mesh.asked).toEqual([])

    tab.close()
    tab = world.tab()
    await tab.answers.resumeAll()
    await world.clock.pass(5000)
    expect(items()).toEqual([one, two, three])

    world.mesh.readiness = 'ready'
    tab.answers.poke()
    await settled()
    // nothing goes out before what is in front of it was taken
    expect(questions()).toEqual(['one'])
    world.mesh.last.begins()
    await settled()
    expect(questions()).toEqual(['one', 'three'])
    world.mesh.last.begins().ends()
    world.mesh.asked[0]!.says('1').ends()
    await settled()
    expect(questions()).toEqual(['one', 'three', 'two'])
    expect(world.mesh.last.request.messages.map(({ content }) => content)).toEqual(['Be short.', 'one', '1', 'two'])
    expect(items()).toEqual([])
  })

  it('also has what was sent to somebody who had just gone away', async () => {
    const one = await sent(tab, 'one')
    world.mesh.last.begins().says('1').ends()
    await settled()
    world.mesh.readiness = 'away'
    const two = await sent(tab, 'two', one)
    await world.clock.pass(3000)
    expect(tab.answers.live(two)!.note.value).toEqual({ kind: 'outbox' })
    expect(world.row(two).status).toBe('queued')
    expect(tab.answers.outbox.value.map(({ messageId }) => messageId)).toEqual([two])
    world.mesh.readiness = 'ready'
    tab.answers.poke()
    await settled()
    expect(questions()).toEqual(['one', 'two', 'two'])
    expect(world.mesh.last.options.idempotencyKey).toBe(two)
  })

  it('gives back what is cancelled, from any tab, and waits while nothing can serve', async () => {
    const other = world.tab()
    world.mesh.readiness = 'waiting'
    const one = await sent(tab, 'one')
    const two = await sent(tab, 'two')
    await other.answers.stop(one)
    await settled()
    expect(world.row(one).status).toBe('stopped')
    expect(tab.answers.outbox.value.map(({ messageId }) => messageId)).toEqual([two])
    expect(other.answers.outbox.value.map(({ messageId }) => messageId)).toEqual([two])
    world.mesh.readiness = 'ready'
    await world.clock.pass(2000)
    expect(questions()).toEqual(['two'])
  })
})

describe('another tab', () => {
  it('sees an answer as it comes, ten times in a second at most, also when it is opened late', async () => {
    const id = await sent(tab)
    let messages = 0
    const other = world.tab()
    world.browser.listeners.get([...world.browser.listeners.keys()][1]!)!.add(() => messages++)
    await other.answers.resumeAll()
    world.mesh.last.begins()
    for (let i = 0; i < 50; i++) {
      world.mesh.last.says(`${i} `)
      await world.clock.pass(20)
    }
    await world.clock.pass(100)
    const seen = other.answers.live(id)!
    expect(seen.text.value).toBe(tab.answers.live(id)!.text.value)
    expect(seen.text.value).toMatch(/ 49 $/)
    expect(messages).toBeLessThanOrEqual(14)
    const late = world.tab()
    await late.answers.resumeAll()
    await world.clock.pass(16)
    expect(late.answers.live(id)!.text.value).toBe(seen.text.value)
    world.mesh.last.ends()
    await world.clock.pass(16)
    expect([seen.phase.value, late.answers.live(id)?.phase.value]).toEqual(['done', 'done'])
    await world.clock.pass(2000)
    expect(other.answers.live(id)).toBeUndefined()
    expect(world.mesh.asked).toHaveLength(1)
  })

  it('goes on with an answer whose tab is closed', async () => {
    const id = await sent(tab)
    const other = world.tab()
    await other.answers.resumeAll()
    world.mesh.last.begins().says('Geese ')
    await world.clock.pass(300)
    tab.close()
    await settled()
    expect(world.mesh.asked).toHaveLength(2)
    expect(world.mesh.last.options.idempotencyKey).toBe(id)
    world.mesh.last.begins().says('Geese fly.').ends()
    await settled()
    expect(other.answers.live(id)!.text.value).toBe('Geese fly.')
    expect(world.row(id).status).toBe('done')
  })

  it('stops an answer that is not its own', async () => {
    const id = await sent(tab)
    const other = world.tab()
    await other.answers.resumeAll()
    world.mesh.last.begins().says('Geese ')
    await world.clock.pass(300)
    await other.answers.stop(id)
    await settled()
    expect(world.row(id).status).toBe('stopped')
    expect(world.mesh.cancelled).toHaveLength(1)
  })

  it('of another version, or that lies, is not heard', () => {
    fc.assert(
      fc.property(fc.anything(), (message) => {
        tabMessageOf(message)
      }),
    )
    const tell = { type: 'tell', id: 'a', chatId: 'c', textFrom: 0, thoughtFrom: 0 }
    const state = { phase: 'writing', text: '', thought: '', calls: [], made: {} }
    expect(tabMessageOf({ ...tell, state })).toBeDefined()
    expect(tabMessageOf({ ...tell, state: { ...state, phase: 'x' } })).toBeUndefined()
    expect(tabMessageOf({ ...tell, textFrom: -1, state })).toBeUndefined()
    expect(tabMessageOf({ ...tell, state: { ...state, calls: [{}] } })).toBeUndefined()
    expect(tabMessageOf({ ...tell, state: { ...state, made: { a: 'x'.repeat(300_000) } } })).toBeUndefined()
    expect(tabMessageOf({ type: 'stop', id: 'x'.repeat(300) })).toBeUndefined()
  })
})

describe('a text that is made again', () => {
  it('is shown as it was until it is caught up with, or goes another way, however it is cut', () => {
    const text = fc.stringMatching(/^[ab]{0,8}$/)
    fc.assert(
      fc.property(text, fc.array(text), (base, pieces) => {
        const growing = new GrowingText(base)
        let said = ''
        for (const piece of pieces) {
          growing.add(piece)
          said += piece
          expect(growing.text).toBe(base.startsWith(said) ? base : said)
        }
      }),
    )
  })
})

it('a status never throws, and is never more than it may be', () => {
  fc.assert(
    fc.property(
      fc.string({ maxLength: 2000 }),
      fc.constantFrom('', 'call ', 'confirm a b', 'queued ', 'node '),
      (text, before) => {
        expect(JSON.stringify(toldBy(before + text)).length).toBeLessThan(5000)
      },
    ),
  )
})
