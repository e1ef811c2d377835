/** The frame around all pages: by the keys, in its settings, on a phone, and with a mesh that asks for a key. */
import { expect, it } from 'vitest'
import { PHONE, useBrowser, useMesh } from './harness/index.ts'

const mesh = useMesh()
const browser = useBrowser()

const focused = () => document.activeElement?.textContent?.trim() ?? ''

it('is gone through by the keys alone, and tells where the focus is', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open('/settings')
  await page.getByRole('heading', { level: 1, name: 'Settings' }).waitFor()

  await page.keyboard.press('Tab')
  expect(await page.evaluate(focused)).toBe('Skip to the content')
  await page.keyboard.press('Enter')
  await expect.poll(() => page.evaluate(() => document.activeElement?.id)).toBe('content')

  await page.keyboard.press('Control+k')
  const search = page.getByRole('combobox', { name: 'Search chats, pages and commands' })
  await search.waitFor()
  await page.keyboard.type('mode')
  expect(await page.locator('.app-palette [aria-selected=true]').textContent()).toBe('Models')
  await view.expectAxeClean()
  await page.keyboard.press('Enter')
  await page.waitForURL('**/models')
  // a reader of screens begins with the page that it came to
  await expect.poll(() => page.evaluate(focused)).toBe('Models')
  await expect.poll(() => page.title()).toBe('Models · Skein')

  await page.keyboard.press('?')
  await page.getByRole('dialog', { name: 'Keyboard shortcuts' }).waitFor()
  await view.expectAxeClean()
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  expect(await page.evaluate(focused)).toBe('Models')

  await page.keyboard.press('Control+b')
  await page.getByRole('navigation').waitFor({ state: 'detached' })
  await page.reload()
  await page.getByRole('button', { name: 'Show the sidebar' }).waitFor()
  await page.keyboard.press('Control+b')
  await page.getByRole('navigation').getByRole('link', { name: 'Models' }).waitFor()
})

it('keeps its colours and its language, from before the first paint on', async () => {
  const view = await browser.view(mesh.http, { theme: 'light' })
  const page = await view.open('/settings')
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor)
  const light = await ground()
  await page.getByLabel('Colours').selectOption('dark')
  await expect.poll(ground).not.toBe(light)
  const dark = await ground()
  await page.getByLabel('Language').selectOption('fr')
  await page.getByRole('heading', { level: 1, name: 'Réglages' }).waitFor()
  await page.reload()
  await page.getByRole('heading', { level: 1, name: 'Réglages' }).waitFor()
  expect(await page.evaluate(() => document.documentElement.lang)).toBe('fr')
  expect(await ground()).toBe(dark)
  // kept by this browser, so that it opens without a network
  await page.getByText('Oui, depuis le stockage de ce navigateur').waitFor()
})

it('is a drawer on a phone, and closes when something is chosen in it', async () => {
  const view = await browser.view(mesh.http, { viewport: PHONE, isTouch: true })
  const page = await view.open('/')
  await page.getByRole('button', { name: 'Show the sidebar' }).click()
  const drawer = page.getByRole('dialog', { name: 'Main' })
  await drawer.getByRole('link', { name: 'Mesh', exact: true }).waitFor()
  await view.expectAxeClean()
  await drawer.getByRole('link', { name: 'Mesh', exact: true }).click()
  await drawer.waitFor({ state: 'detached' })
  await page.getByRole('heading', { level: 1, name: 'Mesh' }).waitFor()
  await page.goBack()
  await page.waitForURL(`${mesh.http}/`)
})

it('asks for a key where the mesh does, tells a wrong one, and keeps a good one', async () => {
  const { secret } = JSON.parse(await mesh.run('keys', 'add', 'browser', '--json')) as { secret: string }
  // from here on the API is for keys; what this machine asks without one is refused
  const view = await browser.view(mesh.http)
  view.problems.allow(/status of 401/)
  const page = await view.open('/settings')
  await page.getByRole('button', { name: 'Enter a key' }).first().click()
  const dialog = page.getByRole('dialog', { name: 'This mesh asks for a key' })
  await dialog.getByLabel('Key', { exact: true }).fill('sk-skein-wrong')
  await dialog.getByRole('button', { name: 'Use this key' }).click()
  await dialog.getByRole('alert').filter({ hasText: 'does not know this key' }).waitFor()
  await view.expectAxeClean()
  await dialog.getByLabel('Key', { exact: true }).fill(secret)
  await page.keyboard.press('Enter')
  await dialog.waitFor({ state: 'detached' })
  await page.reload()
  await page.getByText('A key is kept in this browser.').waitFor()
  await page.getByRole('main').getByText('Connected').waitFor()
})
