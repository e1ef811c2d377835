/** One person's browser: storage of its own, one page or several, and what is looked at in it. */
import { mkdir, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import axe, { type AxeResults } from 'axe-core'
import type { BrowserContext, Page } from 'playwright-core'
import { expect } from 'vitest'
import { ROOT } from '../../../scripts/tools.ts'
import { Problems } from './problems.ts'

export const PHONE = { width: 360, height: 740 } as const
export const DESKTOP = { width: 1280, height: 800 } as const
const PICTURE_BYTES_MAX = 200 * 1024

/** Rules of WCAG up to AA, and what its authors hold for good practice. */
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']

export class View {
  readonly context: BrowserContext
  readonly page: Page
  readonly origin: string
  readonly problems: Problems

  private constructor(context: BrowserContext, page: Page, origin: string, problems: Problems) {
    this.context = context
    this.page = page
    this.origin = origin
    this.problems = problems
  }

  static async create(context: BrowserContext, origin: string): Promise<View> {
    const problems = new Problems(context, origin)
    return new View(context, await context.newPage(), origin, problems)
  }

  /** Goes to a path of the page, as by its address. */
  async open(path = '/'): Promise<Page> {
    await this.page.goto(new URL(path, this.origin).href)
    return this.page
  }

  /** A second tab of the same person. */
  async tab(path = '/'): Promise<Page> {
    const page = await this.context.newPage()
    await page.goto(new URL(path, this.origin).href)
    return page
  }

  /** Once the service worker has the page: from here on it opens without a network. */
  async untilKept(): Promise<void> {
    await this.page.evaluate(async () => {
      await navigator.serviceWorker.ready
      if (navigator.serviceWorker.controller) return
      await new Promise((resolve) =>
        navigator.serviceWorker.addEventListener('controllerchange', resolve, { once: true }),
      )
    })
  }

  /** Takes the network of this browser away, or gives it back. What requests say of that is no problem then. */
  async offline(isOffline: boolean): Promise<void> {
    if (isOffline) this.problems.allowAway()
    await this.context.setOffline(isOffline)
  }

  /** What axe finds in what is shown now, a line for each place. */
  async axeFindings(page = this.page): Promise<string[]> {
    await page.evaluate(axe.source)
    const { violations } = await page.evaluate<AxeResults, string[]>(
      (rules) => (globalThis as unknown as { axe: typeof axe }).axe.run(document, { runOnly: rules }),
      RULES,
    )
    return violations.flatMap(({ id, help, nodes }) =>
      nodes.map(({ target, failureSummary = '' }) => `${id} (${help}): ${target.join(' ')}: ${failureSummary}`),
    )
  }

  /** Nothing that axe finds, in what is shown now. */
  async expectAxeClean(page = this.page): Promise<void> {
    const found = await this.axeFindings(page)
    expect(found, found.join('\n')).toEqual([])
  }

  /**
   * A picture for docs/screenshots with SKEIN_SCREENSHOTS=1, or for the folder that it names; nothing without it.
   *
   * @param name of the file, without its ending.
   */
  async screenshot(name: string, page = this.page): Promise<void> {
    const wish = process.env['SKEIN_SCREENSHOTS']
    if (wish === undefined || wish === '') return
    const folder = wish === '1' ? join(ROOT, 'docs', 'screenshots') : resolve(wish)
    await mkdir(folder, { recursive: true })
    const path = join(folder, `${name}.png`)
    await page.screenshot({ path, animations: 'disabled', caret: 'hide' })
    expect((await stat(path)).size, `${name}.png is small enough to be kept`).toBeLessThanOrEqual(PICTURE_BYTES_MAX)
  }
}
