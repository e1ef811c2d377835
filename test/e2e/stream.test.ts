/** An answer as it comes: shown safely, stopped, gone on with, and seen by every tab. */
import { describe, expect, it } from 'vitest'
import { answers, lastAnswer, say, untilComplete, untilSaid, words } from './answers.ts'
import { useBrowser, useMesh } from './harness/index.ts'

const SLOW = 'slow'

const HOSTILE = [
  '# A title',
  '',
  '<img src="https://elsewhere.example/a.png" onerror="alert(1)"> <script>alert(2)</script>',
  '',
  '![pixel](https://elsewhere.example/pixel.png) [run](javascript:alert(3)) [bank.com](https://evil.example/)',
  '',
  '| a | b |',
  '|---|--:|',
  '| 1 | 2 |',
  '',
  '```ts',
  'const goose: string = "flies"',
  '```',
  '',
  'so $\\frac{a}{b}$ and',
  '',
  '$$',
  '\\sum_{i=1}^{n} i',
  '$$',
].join('\n')

describe('an answer', () => {
  // the first that is listed is the one that a new chat asks
  const mesh = useMesh({ args: ['--model', `echo:${SLOW}?tps=40&answer=160&ctx=20000`] })
  const browser = useBrowser()

  it('comes word by word, and is whole at its end, with where it was made', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await say(page, words(50))
    await untilSaid(page, 'word2')
    await page.getByRole('button', { name: 'Stop', exact: true }).waitFor()
    await untilComplete(page)
    expect(await lastAnswer(page).textContent()).toMatch(/^word1 word2 [^]*word50 word1 /)
    await answers(page).last().getByText('home', { exact: true }).waitFor()
    await answers(page).last().getByText('tokens').waitFor()
    // the transcript is read out by nobody; one place tells of borders alone
    expect(await page.getByRole('log').getAttribute('aria-live')).toBe('off')
    await view.expectAxeClean()
  })

  it('is stopped where it is, kept so, and gone on with by the same words', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await say(page, words(150))
    await untilSaid(page, 'word12 ')
    await page.keyboard.press('Escape')
    await page.getByText('Stopped.').waitFor()
    const stopped = (await lastAnswer(page).textContent())!.trim()
    expect(stopped).not.toContain('word150')
    const tasks = await mesh.get<{ data: { state: string }[] }>('/mesh/v1/tasks?limit=1')
    expect(tasks.data[0]!.state).toBe('cancelled')
    await page.reload()
    expect((await lastAnswer(page).textContent())!.trim()).toBe(stopped)

    await page.getByRole('button', { name: 'Continue', exact: true }).click()
    await untilSaid(page, 'word150')
    await untilComplete(page)
    expect((await lastAnswer(page).textContent())!.startsWith(stopped)).toBe(true)
    // the one that was stopped is still there, as another version
    await page.getByRole('button', { name: 'Earlier version' }).click()
    await page.getByText('Stopped.').waitFor()
    expect((await lastAnswer(page).textContent())!.trim()).toBe(stopped)
  })

  it('of anything is only what may be shown, with code and formulas', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await say(page, HOSTILE)
    await page.locator('.chats-answer math').nth(1).waitFor({ timeout: 60_000 })
    await untilComplete(page)
    const answer = lastAnswer(page)
    await answer.locator('.markdown-c-keyword').first().waitFor()
    expect(await answer.locator('script, img, iframe, [onerror]').count()).toBe(0)
    const links = await answer.getByRole('link').evaluateAll((all) => all.map((link) => link.getAttribute('href')))
    expect([...new Set(links)].sort()).toEqual([
      'https://elsewhere.example/a.png',
      'https://elsewhere.example/pixel.png',
      'https://evil.example/',
    ])
    await answer.getByText('(evil.example)').first().waitFor()
    expect(await answer.locator('table td').first().textContent()).toBe('1')
    await view.expectAxeClean()
  })
})

describe('an answer that is long', () => {
  // a minute and a half: tabs are opened while it comes, which on a busy machine takes seconds
  const mesh = useMesh({ args: ['--model', `echo:${SLOW}?tps=40&answer=3600&ctx=20000`] })
  const browser = useBrowser()

  it('is seen in another tab as it comes, stopped there, and taken over from a tab that is closed', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await say(page, words(80))
    await untilSaid(page, 'word3 ')
    const other = await view.tab(new URL(page.url()).pathname)
    await untilSaid(other, 'word15 ')
    // who has asked goes away; the answer does not
    await page.close()
    await untilSaid(other, 'word40 ')
    const third = await view.tab(new URL(other.url()).pathname)
    await untilSaid(third, 'word45 ')
    await third.getByRole('button', { name: 'Stop', exact: true }).click()
    await other.getByText('Stopped.').waitFor()
    await third.getByText('Stopped.').waitFor()
    expect(await answers(other).count()).toBe(1)
  })
})
