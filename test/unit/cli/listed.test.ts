/** When a process says that it is up. */
import { expect, it } from 'vitest'
import { modelsListed } from '../../../clients/cli/listed.ts'
import type { Running } from '../../../clients/cli/running.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'

type Parts = Pick<Running, 'agent' | 'coordinator'>

const agentWith = (announced: () => readonly string[] | undefined): Running['agent'] =>
  ({ announced }) as unknown as Running['agent']
const coordinatorWith = (listed: () => readonly string[]): Running['coordinator'] =>
  ({ service: { models: () => listed().map((digest) => ({ digest })) } }) as unknown as Running['coordinator']

/** The answer, and after how many ms it came; `step` is called every 20 ms. */
async function ask(parts: Parts, step: (ms: number) => void = () => {}): Promise<[boolean, number]> {
  const clock = new ManualClock()
  const beganMs = clock.nowMs()
  let answer: boolean | undefined
  void modelsListed(parts, clock).then((listed) => (answer = listed))
  for (let ms = 0; answer === undefined && ms < 60_000; ms += 20) {
    step(ms)
    await clock.advance(20)
  }
  return [answer!, clock.nowMs() - beganMs]
}

it('is at once without a node, and when all that is announced is listed', async () => {
  expect((await ask({ agent: undefined, coordinator: undefined }))[0]).toBe(true)
  const [isListed, ms] = await ask({ agent: agentWith(() => ['a']), coordinator: coordinatorWith(() => ['b', 'a']) })
  expect([isListed, ms <= 20]).toEqual([true, true])
})

it('is when the models were looked at, and their record has come', async () => {
  let announced: string[] | undefined
  let listed: string[] = []
  const parts = { agent: agentWith(() => announced), coordinator: coordinatorWith(() => listed) }
  const [isListed, ms] = await ask(parts, (now) => {
    if (now === 300) announced = ['a', 'b']
    if (now === 600) listed = ['a']
    if (now === 900) listed = ['a', 'b']
  })
  expect(isListed).toBe(true)
  expect(ms).toBeGreaterThanOrEqual(900)
  expect(ms).toBeLessThan(1000)
})

it('does not wait for gigabytes', async () => {
  const [isListed, ms] = await ask({ agent: agentWith(() => undefined), coordinator: undefined })
  expect(isListed).toBe(false)
  expect(ms).toBeGreaterThanOrEqual(5000)
  expect(ms).toBeLessThan(5100)
})
