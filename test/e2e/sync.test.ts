/** Two devices of one person: joined by a link, edited without a network, one again afterwards; and files of chats. */
import { readFile } from 'node:fs/promises'
import type { Page } from 'playwright-core'
import { expect, it } from 'vitest'
import { say, untilComplete } from './answers.ts'
import { PHONE, useBrowser, useMesh } from './harness/index.ts'

const mesh = useMesh({ args: ['--model', 'echo:parrot?tps=400&answer=12'] })
const browser = useBrowser()
const SETTLED_MS = 60_000

interface Kept {
  readonly messages: readonly { readonly status: string }[]
  readonly registers: readonly unknown[]
}

/** What the page has on its disk, in the order of its keys. */
const kept = (page: Page): Promise<Kept> =>
  page.evaluate(async () => {
    const result = <T>(request: IDBRequest<T>): Promise<T> =>
      new Promise((resolve, reject) => {
        request.onsuccess = () => resolve(request.result)
        request.onerror = () => reject(request.error as DOMException)
      })
    const db = await result(indexedDB.open('skein'))
    const all = (table: string): Promise<unknown[]> => result(db.transaction(table).objectStore(table).getAll())
    const [messages, registers] = await Promise.all([all('messages'), all('registers')])
    db.close()
    return { messages, registers } as Kept
  })

async function untilSame(a: Page, b: Page, messages: number): Promise<void> {
  await expect
    .poll(
      async () => {
        const [left, right] = [await kept(a), await kept(b)]
        const isWhole = left.messages.every(({ status }) => status === 'done')
        return { isWhole, count: left.messages.length, isSame: JSON.stringify(left) === JSON.stringify(right) }
      },
      { timeout: SETTLED_MS, interval: 500 },
    )
    .toEqual({ isWhole: true, count: messages, isSame: true })
}

it('two devices that were edited without a network come to the same', async () => {
  const [desk, phone] = [
    await browser.view(mesh.http),
    await browser.view(mesh.http, { viewport: PHONE, theme: 'dark' }),
  ]
  const page = await desk.open('/')
  await say(page, 'begun on the desk')
  await untilComplete(page)
  const chat = new URL(page.url()).pathname

  const settings = await desk.tab('/settings/sync')
  await settings.getByRole('textbox', { name: 'Name of this device' }).fill('desk')
  await settings.getByRole('button', { name: 'Turn on sync' }).click()
  await settings.getByText('Up to date').waitFor()
  await settings.getByRole('button', { name: 'Show QR and code' }).click()
  await settings.getByRole('img', { name: 'QR code that joins another device' }).waitFor()
  const link = await settings.getByRole('textbox', { name: 'Link', exact: true }).innerText()
  expect(await desk.axeFindings(settings)).toEqual([])

  const { page: joining } = phone
  await joining.goto(link)
  await joining.getByRole('textbox', { name: 'Name of this device' }).fill('phone')
  // the key does not stay in the address
  expect(new URL(joining.url()).hash).toBe('')
  await phone.expectAxeClean()
  await joining.getByRole('button', { name: 'Join', exact: true }).click()
  await joining.getByText('Up to date').waitFor()
  await joining.getByText('desk', { exact: true }).waitFor()
  await phone.screenshot('sync-phone')
  await settings.getByRole('button', { name: 'Exchange now' }).click()
  await settings.getByText('phone', { exact: true }).waitFor()
  await settings.close()

  await joining.goto(new URL(chat, mesh.http).href)
  await joining.getByText('begun on the desk', { exact: true }).first().waitFor()
  for (const view of [desk, phone]) await view.offline(true)
  await say(page, 'from the desk meanwhile')
  await say(joining, 'from the phone meanwhile')
  for (const view of [desk, phone]) await view.offline(false)
  // each answer is asked for where it waited, and both questions stay: two branches of one chat
  await untilSame(page, joining, 6)
  for (const one of [page, joining])
    await one
      .getByRole('group', { name: /^Version . of 2$/ })
      .first()
      .waitFor()
})

it('all chats leave as a file, and come back whole in another browser', async () => {
  const [from, to] = [await browser.view(mesh.http), await browser.view(mesh.http)]
  const page = await from.open('/')
  await say(page, 'to be kept elsewhere')
  await untilComplete(page)
  await from.open('/settings')
  const download = page.waitForEvent('download')
  await page.getByRole('button', { name: 'Export all chats' }).click()
  const file = await (await download).path()
  expect((await readFile(file, 'utf8')).split('\n')[0]).toMatch(/^\{"format":"skein-chats","version":1/)

  const other = await to.open('/settings')
  const choosing = other.waitForEvent('filechooser')
  await other.getByRole('button', { name: 'Import a file' }).click()
  await (await choosing).setFiles(file)
  await other.getByText('New here: 1 chat, 2 messages.').waitFor()
  await to.expectAxeClean()
  const contents = async (one: Page): Promise<unknown[]> =>
    // but for the stamps, which are each device's own
    (await kept(one)).messages.map((message) => ({ ...message, hlc: undefined }))
  expect(await contents(other)).toEqual(await contents(page))
  await other
    .getByRole('link', { name: /to be kept elsewhere/ })
    .first()
    .click()
  await other.getByText('to be kept elsewhere', { exact: true }).first().waitFor()
})
