/** Who waits behind a full line, and could go elsewhere. */
import { expect, it } from 'vitest'
import { Shares } from '../../../coordinator/dispatch/shares.ts'
import { WaitingLine, type Waiter } from '../../../coordinator/dispatch/waiting-line.ts'
import { ManualClock } from '../../../mesh/runtime/index.ts'
import { DIGEST } from './snapshots.ts'

const never = new AbortController().signal

it('one behind a full line is asked now and again whether it would rather go elsewhere, and those without a choice are not', async () => {
  const clock = new ManualClock()
  const line = new WaitingLine<string>({ clock, shares: new Shares() })
  const served: string[] = []
  const waiter = (init: Pick<Waiter<string>, 'attempt'> & Partial<Waiter<string>>): Waiter<string> => ({
    ...{ digest: DIGEST, priority: 'default', tenant: 'local', cost: 100, deadlineAtMs: 0, isResumed: false },
    mayUse: () => true,
    moved: () => {},
    ...init,
  })
  const join = (name: string, init: Parameters<typeof waiter>[0]): void =>
    void line.wait(waiter(init), never).then(() => served.push(name))
  const walk = async (): Promise<void> => {
    line.wake()
    await clock.advance(1)
  }
  let asked = 0
  let isOpen = false
  join('ahead', { attempt: () => 'no slot' })
  join('elsewhere', {
    mayPassBy: () => true,
    attempt: () => (asked++, isOpen ? { result: '' } : 'no slot'),
  })
  join('behind', { attempt: () => ({ result: '' }) })
  await walk()
  await walk()
  expect(asked).toBe(1)
  isOpen = true
  await clock.advance(1000)
  await walk()
  expect(asked).toBe(2)
  expect(served).toEqual(['elsewhere'])
})
