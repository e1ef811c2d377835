/** One Chromium for a file of tests, and views of it that are looked through after each test. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Browser } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { ROOT } from '../../../scripts/tools.ts'
import { launchChromium } from './chromium.ts'
import { DESKTOP, View } from './view.ts'

/** Of one act of the browser: processes start on a busy machine. */
const PATIENCE_MS = 20_000

export interface ViewInit {
  readonly theme?: 'light' | 'dark'
  readonly viewport?: { readonly width: number; readonly height: number }
  readonly language?: string
  readonly isTouch?: boolean
  readonly hasReducedMotion?: boolean
  /** It stays until the file has ended, for tests that go on where the one before ended. */
  readonly isKept?: boolean
  readonly permissions?: readonly string[]
}

export class TestBrowser {
  readonly #views = new Map<View, { readonly isKept: boolean }>()
  #browser: Browser | undefined

  async launch(): Promise<void> {
    this.#browser = await launchChromium()
  }

  /** A fresh browser of one person at `origin`, such as `http://127.0.0.1:7337`. */
  async view(origin: string, init: ViewInit = {}): Promise<View> {
    if (this.#browser === undefined) throw new TypeError('the browser is launched before the first test, not earlier')
    const context = await this.#browser.newContext({
      viewport: init.viewport ?? DESKTOP,
      colorScheme: init.theme ?? 'light',
      locale: init.language ?? 'en-GB',
      timezoneId: 'UTC',
      hasTouch: init.isTouch ?? false,
      reducedMotion: init.hasReducedMotion ? 'reduce' : 'no-preference',
      ...(init.permissions && { permissions: [...init.permissions] }),
    })
    context.setDefaultTimeout(PATIENCE_MS)
    const view = await View.create(context, origin)
    this.#views.set(view, { isKept: init.isKept ?? false })
    return view
  }

  /**
   * Closes what is not kept. Returns what happened that must not.
   *
   * @param failed name of the test, when it has failed: a picture is kept of what it saw.
   */
  async afterTest(failed?: string): Promise<string[]> {
    const found: string[] = []
    for (const [view, { isKept }] of this.#views) {
      if (failed !== undefined) await keepSight(view, failed)
      found.push(...view.problems.take())
      if (isKept) continue
      this.#views.delete(view)
      await view.context.close()
    }
    return found
  }

  async close(): Promise<void> {
    for (const view of this.#views.keys()) await view.context.close()
    await this.#browser?.close()
  }
}

/** What could be seen when it failed is the first thing that is asked for. */
async function keepSight({ page }: View, name: string): Promise<void> {
  const folder = join(ROOT, '.cache', 'e2e')
  await mkdir(folder, { recursive: true })
  const path = join(folder, `${name.replaceAll(/[^\w-]+/g, '-').slice(0, 80)}.png`)
  // a page that is closed, or hangs, cannot be seen any more
  const isTaken = await page.screenshot({ path, timeout: 5000 }).then(
    () => true,
    () => false,
  )
  if (isTaken) process.stderr.write(`seen when it failed: ${path}\n`)
}

/** Call it in a `describe`, or at the top of a file. */
export function useBrowser(): TestBrowser {
  const browser = new TestBrowser()
  beforeAll(() => browser.launch(), 60_000)
  afterAll(() => browser.close())
  afterEach(async ({ task }) => {
    const failed = task.result?.state === 'fail' ? task.name : undefined
    expect(await browser.afterTest(failed), 'nothing went wrong in the browser meanwhile').toEqual([])
  })
  return browser
}
