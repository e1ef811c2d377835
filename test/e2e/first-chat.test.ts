/** A newcomer and the model that comes with Skein: with a mouse, with the keys alone, and without a network. */
import type { Page } from 'playwright-core'
import { expect, it } from 'vitest'
import { answers, lastAnswer, say, untilComplete } from './answers.ts'
import { BUNDLED_MODEL, useBrowser, useMesh } from './harness/index.ts'

const mesh = useMesh()
const browser = useBrowser()

/** What has the focus, as a screen reader says it. */
const focused = (page: Page): Promise<string> =>
  page.evaluate(() => {
    const { activeElement: element } = document
    return element?.getAttribute('aria-label') ?? element?.getAttribute('placeholder') ?? element?.textContent ?? ''
  })

/** Presses a key until what has the focus is named so; fails when it never is. */
async function pressUntil(page: Page, key: string, name: string | RegExp, most = 40): Promise<void> {
  const met: string[] = []
  for (let presses = 0; presses < most; presses++) {
    await page.keyboard.press(key)
    met.push((await focused(page)).trim())
    if (typeof name === 'string' ? met.at(-1) === name : name.test(met.at(-1)!)) return
  }
  throw new TypeError(`${String(name)} never had the focus, but: ${met.join(' | ')}`)
}

it('the first answer comes without reading anything but the page', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open('/')
  await page.getByRole('button', { name: `Model: ${BUNDLED_MODEL}` }).waitFor()
  await page.getByRole('status').getByText('Connected').waitFor()
  await page.getByRole('button', { name: /^A short story/ }).click()
  // an example is sent at once, or waits in the box to be changed first
  if (
    (await answers(page).count()) === 0 &&
    (await page.getByRole('button', { name: 'Send', exact: true }).isEnabled())
  )
    await page.getByRole('button', { name: 'Send', exact: true }).click()
  await untilComplete(page)
  expect((await lastAnswer(page).innerText()).length).toBeGreaterThan(40)
  const made = answers(page).getByRole('button', { name: /Why here\?/ })
  expect(await made.innerText()).toMatch(/home[\s\S]*this computer[\s\S]*tokens[\s\S]*free/)
  await view.screenshot('chat')
  await made.click()
  const why = page.getByRole('dialog')
  await why.getByText('home').first().waitFor()
  await view.expectAxeClean()
  await view.screenshot('why-here')
  await page.keyboard.press('Escape')
  await why.waitFor({ state: 'detached' })
})

it('everything of a chat can be done with the keys', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open('/')
  await page.getByRole('button', { name: `Model: ${BUNDLED_MODEL}` }).waitFor()
  // the box has the focus: a person writes
  await expect.poll(() => focused(page)).toBe('Message')
  await page.keyboard.type('What is a mesh?')
  await page.keyboard.press('Enter')
  await untilComplete(page)
  await pressUntil(page, 'Shift+Tab', 'Answer again')
  await page.keyboard.press('Enter')
  await page.getByText('Version 2 of 2').or(page.getByLabel('Version 2 of 2')).first().waitFor()
  await untilComplete(page)
  // the palette goes anywhere
  await page.keyboard.press('Control+k')
  await page.getByRole('dialog').waitFor()
  await page.keyboard.type('usage')
  await page.keyboard.press('Enter')
  await page.waitForURL('**/usage')
  // the first thing that Tab meets after a page was loaded is the way past the sidebar
  await page.goto(`${mesh.http}/models`)
  await page.getByRole('heading', { level: 1 }).first().waitFor()
  await page.evaluate(() => (document.activeElement as HTMLElement).blur())
  await page.keyboard.press('Tab')
  expect(await focused(page)).toContain('Skip')
})

it('the page opens without a network, with every chat, and finds what was said', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open('/')
  await page.getByRole('button', { name: `Model: ${BUNDLED_MODEL}` }).waitFor()
  await say(page, 'A word that nobody else says: quetzalcoatl')
  await untilComplete(page)
  const said = await lastAnswer(page).innerText()
  await view.untilKept()
  await view.offline(true)
  await page.reload()
  await lastAnswer(page).waitFor()
  expect(await lastAnswer(page).innerText()).toBe(said)
  const other = await view.tab('/')
  await other.getByRole('searchbox', { name: 'Search chats' }).fill('quetzal')
  await other
    .getByText(/places? found/)
    .first()
    .waitFor({ state: 'attached' })
  await view.screenshot('offline', other)
  await other.close()
  await view.offline(false)
  await page.getByRole('status').getByText('Connected').waitFor()
})

it('an answer with code and maths that was never shown before is coloured and set without a network', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open('/settings')
  await view.untilKept()
  await view.offline(true)
  const text = 'To fly:\n\n```python\ndef fly(geese):\n    return geese * 2\n```\n\nso that\n\n$$\\frac{a}{b}$$\n'
  const [chatId, atMs] = ['away', 1_790_000_000_000]
  const message = { type: 'message', chatId, status: 'done', createdAtMs: atMs }
  const lines = [
    { format: 'skein-chats', version: 1, exportedAtMs: atMs, chats: 1 },
    { type: 'chat', id: chatId, title: 'Geese away', createdAtMs: atMs, selected: 'away-2' },
    { ...message, id: 'away-1', role: 'user', parts: [{ type: 'text', text: 'How?' }] },
    { ...message, id: 'away-2', parentId: 'away-1', role: 'assistant', parts: [{ type: 'text', text }] },
  ]
  const choosing = page.waitForEvent('filechooser')
  await page.getByRole('button', { name: 'Import a file' }).click()
  const buffer = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
  await (await choosing).setFiles({ name: 'away.jsonl', mimeType: 'application/x-ndjson', buffer })
  await page
    .getByRole('link', { name: /Geese away/ })
    .first()
    .click()
  // what comes late: the language and the maths, each a file of its own
  await lastAnswer(page).locator('pre code span', { hasText: 'def' }).first().waitFor()
  await lastAnswer(page).locator('math mfrac').waitFor()
  await view.screenshot('offline-code', page)
})
