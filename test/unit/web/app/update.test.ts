/** A new version of the page waits until somebody wants it. */
import { expect, it } from 'vitest'
import { PageUpdate } from '../../../../clients/web/app/update.ts'
import { PlayedClock, settle } from './played.ts'

class PlayedWorker extends EventTarget {
  readonly said: unknown[] = []
  postMessage(message: unknown): void {
    this.said.push(message)
  }
}

class PlayedRegistration extends EventTarget {
  installing: PlayedWorker | null = null
  waiting: PlayedWorker | null = null
  looks = 0
  update(): Promise<void> {
    this.looks++
    return Promise.reject(new TypeError('the coordinator is away'))
  }

  /** A version comes, and is ready. */
  bring(): PlayedWorker {
    const worker = new PlayedWorker()
    this.installing = worker
    this.dispatchEvent(new Event('updatefound'))
    this.installing = null
    this.waiting = worker
    worker.dispatchEvent(new Event('statechange'))
    return worker
  }
}

class PlayedContainer extends EventTarget {
  readonly registration = new PlayedRegistration()
  controller: object | null = null
  readonly ready = Promise.resolve()
  register(): Promise<PlayedRegistration> {
    return Promise.resolve(this.registration)
  }
}

function started(container: PlayedContainer | undefined) {
  const clock = new PlayedClock()
  let reloads = 0
  const update = new PageUpdate(clock, container as unknown as ServiceWorkerContainer, () => void reloads++)
  return { clock, update, reloads: () => reloads }
}

it('the first version of all is used at once', async () => {
  const container = new PlayedContainer()
  const { update, reloads } = started(container)
  await update.start()
  container.registration.bring()
  container.dispatchEvent(new Event('controllerchange'))
  expect(update.isReady.value).toBe(false)
  expect(update.isKept.value).toBe(true)
  expect(reloads()).toBe(0)
})

it('a later one takes over when it is wanted, and the page is loaded again then alone', async () => {
  const container = new PlayedContainer()
  container.controller = {}
  const { update, reloads } = started(container)
  await update.start()
  const worker = container.registration.bring()
  expect(update.isReady.value).toBe(true)
  // another tab has taken it: this one goes on with what it has
  container.dispatchEvent(new Event('controllerchange'))
  expect(reloads()).toBe(0)
  update.apply()
  expect(worker.said).toEqual(['take-over'])
  container.dispatchEvent(new Event('controllerchange'))
  expect(reloads()).toBe(1)
})

it('is looked for while the page stays open, and does without where the browser has no workers', async () => {
  const container = new PlayedContainer()
  const { update, clock } = started(container)
  await update.start()
  await clock.move(3 * 60 * 60 * 1000)
  await settle()
  expect(container.registration.looks).toBe(3)

  const without = started(undefined)
  await without.update.start()
  expect(without.update.isKept.value).toBe(false)
})
