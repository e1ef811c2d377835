/** Meshes that are endpoints of each other: a request that comes back to one that it has left is seen, refused, and held against nobody. */
import { beforeEach, describe, expect, it } from 'vitest'
import type { TaskRequest } from '../../../coordinator/admission/index.ts'
import { viaMark } from '../../../coordinator/dispatch/index.ts'
import { asPeerId, asRequestId, GREEDY, VIA_MARK } from '../../../mesh/protocol/index.ts'
import { accept, ANSWER, answers, DispatchHarness, end, fails, TEXT, tokensFrom } from './dispatch.harness.ts'

const OURS = 'Qm9kZW5zZWVmZWxj'
const THEIRS = 'R2Fuc2ZlZGVya2ll'
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
const circle = fails('HOPS_EXCEEDED', 'the request has left this mesh, and comes back to it')
const cloud = { tier: 'cloud' } as const

describe('the marks of the meshes that a request has left', () => {
  let harness: DispatchHarness
  beforeEach(() => {
    harness = new DispatchHarness({ mark: OURS })
  })
  const failuresOf = ({ self }: ReturnType<DispatchHarness['node']>): number =>
    harness.directory.entry(self.peerId)!.failuresAt(harness.clock.nowMs())

  it('are told with what leaves, ours behind those before, and never within the house', async () => {
    harness.node('rented', 100, [answers], cloud)
    await harness.run(harness.task())
    await harness.run(harness.task({ hops: 1, via: [THEIRS] }))
    harness.node('home', 100, [answers])
    await harness.run(harness.task({ hops: 1, via: [THEIRS] }))
    const told = harness.begins.map((begin) => ('leave' in begin ? begin.leave : undefined))
    expect(told).toEqual([
      { reason: 'too-big', via: [OURS] },
      { reason: 'too-big', hops: 1, via: [THEIRS, OURS] },
      undefined,
    ])
  })

  it('end a request that bears our own before it is admitted, and no other', async () => {
    harness.node('home', 100, [answers])
    const service = harness.service()
    const back = service.submit(request({ hops: 2, via: [OURS, THEIRS] }), never)
    await expect(back).rejects.toMatchObject({ code: 'HOPS_EXCEEDED' })
    expect([...harness.dispatcher.runs()]).toHaveLength(0)
    const handle = await service.submit(request({ hops: 1, via: [THEIRS] }), never)
    expect((await harness.follow(handle).over(1)).text).toBe(TEXT)
  })

  it('are another in each life of a coordinator, and of each coordinator', () => {
    const [one, two] = [asPeerId('12D3KooWA'), asPeerId('12D3KooWB')]
    const marks = [viaMark(one, 1), viaMark(one, 2), viaMark(two, 1)]
    expect(new Set(marks).size).toBe(3)
    for (const mark of marks) expect(mark).toMatch(VIA_MARK)
    expect(viaMark(one, 1)).toBe(marks[0])
  })

  it('let a request go on elsewhere when an endpoint says that it goes in a circle', async () => {
    const first = harness.node('first', 1000, [circle], cloud)
    harness.node('second', 10, [answers], cloud)
    const task = harness.task()
    expect((await harness.run(task)).text).toBe(TEXT)
    expect(harness.asked).toEqual(['first', 'second'])
    expect([failuresOf(first), task.fruitless]).toEqual([0, 0])
  })

  it('let it wait for a slot of the house, and the endpoint is not asked again', async () => {
    const freed = Promise.withResolvers<void>()
    harness.node('home', 10, [
      async (channel, start) => {
        await accept(channel, start)
        await freed.promise
        await tokensFrom(channel, start.fence, 0, ANSWER.length)
        await end(channel, start)
      },
      answers,
    ])
    const running = harness.follow(await harness.submit())
    await harness.until(() => harness.asked.length === 1)
    const rented = harness.node('rented', 1000, [circle], cloud)
    // it asks for the cloud by name, and has been there
    const waiting = await harness.submit(harness.task({ route: 'cloud' }))
    const following = harness.follow(waiting)
    await harness.until(() => waiting.position === 1)
    expect(harness.asked).toEqual(['home', 'rented'])
    freed.resolve()
    await running.over()
    expect((await following.over()).text).toBe(TEXT)
    expect(harness.asked).toEqual(['home', 'rented', 'home'])
    expect(failuresOf(rented)).toBe(0)
  })

  it('end it at once where nobody else could ever answer', async () => {
    harness.node('rented', 1000, [circle], cloud)
    const beganMs = harness.clock.nowMs()
    const { error } = await harness.run()
    expect(error).toMatchObject({ code: 'HOPS_EXCEEDED' })
    expect(harness.asked).toEqual(['rented'])
    expect(harness.clock.nowMs() - beganMs).toBeLessThan(1000)
  })
})
