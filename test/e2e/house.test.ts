/** Usage, budget and keys in the page: what was used is summed, money is limited, and keys come and go. */
import { readFile } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { BUNDLED_MODEL, PHONE, useBrowser, useMesh } from './harness/index.ts'

const mesh = useMesh({ args: ['--mqtt', 'off'] })
const browser = useBrowser()

const ask = (key?: string): Promise<Response> =>
  fetch(`${mesh.http}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(key !== undefined && { authorization: `Bearer ${key}` }) },
    body: JSON.stringify({ model: BUNDLED_MODEL, messages: [{ role: 'user', content: 'Say hi.' }], max_tokens: 8 }),
  })

it('what was used is summed as it happens, and goes into a file', async () => {
  expect((await ask()).status).toBe(200)
  const view = await browser.view(mesh.http)
  const page = await view.open('/usage')
  const row = page.getByRole('row').filter({ hasText: BUNDLED_MODEL })
  await row.getByRole('cell', { name: '1', exact: true }).waitFor()
  expect((await ask()).status).toBe(200)
  await row.getByRole('cell', { name: '2', exact: true }).waitFor()
  await page.getByLabel('Sum by').selectOption('route')
  await page.getByRole('cell', { name: /^In the house/ }).waitFor()
  await view.expectAxeClean()
  await view.screenshot('usage')
  const download = page.waitForEvent('download')
  await page.getByRole('button', { name: 'Download CSV' }).click()
  const csv = await readFile(await (await download).path(), 'utf8')
  expect(csv).toMatch(/^route,name,requests,completed,/)
  expect(csv).toMatch(/\r\nlocal,local,2,2,/)
})

it('the budget is set, by the page as by the command', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open('/usage')
  await page.getByText('Nothing is spent until').waitFor()
  await page.getByRole('button', { name: 'Set budget' }).click()
  await page.getByText('In USD.').waitFor()
  await page.getByLabel('A day').fill('five')
  await page.getByText('An amount such as').first().waitFor()
  expect(await page.getByRole('button', { name: 'Save' }).isDisabled()).toBe(true)
  await page.getByLabel('A day').fill('5')
  await page.getByLabel('A month').fill('60,50')
  await page.getByLabel('At the limit').selectOption('wait')
  await view.expectAxeClean()
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText('The budget is set.').waitFor()
  await page.getByRole('meter', { name: 'Today' }).waitFor()
  await page.getByText('of US$60.50').waitFor()
  const budget = JSON.parse(await mesh.run('budget', '--json')) as {
    atLimit: string
    periods: { limitMicros?: number }[]
  }
  expect(budget).toMatchObject({ atLimit: 'wait', periods: [{ limitMicros: 5_000_000 }, { limitMicros: 60_500_000 }] })
  await mesh.run('budget', 'set', '--day', '7')
  await page.getByText('of US$7.00').waitFor()
})

it('the first key leaves the page its own; a key is shown once, renewed, and revoked', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open('/keys')
  await page.getByRole('heading', { name: 'No keys' }).waitFor()
  await page.getByRole('button', { name: 'Make a key' }).first().click()
  const dialog = page.getByRole('dialog')
  await dialog.getByText('This is the first key').waitFor()
  await dialog.getByLabel('Name', { exact: true }).fill('phone')
  await dialog.getByText('skein keys add phone --route inference --route mesh').waitFor()
  await view.expectAxeClean()
  await view.screenshot('keys-new')
  await dialog.getByRole('button', { name: 'Make a key' }).click()
  const secretOf = (): Promise<string> => page.getByRole('textbox', { name: 'The key of phone' }).innerText()
  const secret = await secretOf()
  expect(secret).toMatch(/^sk-skein-/)
  expect((await ask(secret)).status).toBe(200)
  expect((await ask()).status).toBe(401)
  await page.getByRole('button', { name: 'Done' }).click()
  await page.getByRole('row').filter({ hasText: 'phone' }).getByText('Ask models').waitFor()
  await page.getByRole('row').filter({ hasText: 'this-page' }).getByText('Administer everything').waitFor()
  await view.expectAxeClean()
  await view.screenshot('keys')

  await page.getByRole('button', { name: 'Keys: phone' }).click()
  await page.getByRole('menuitem', { name: 'New secret' }).click()
  await page.getByLabel('The old one ends at once').check()
  await page.getByRole('button', { name: 'New secret' }).click()
  const renewed = await secretOf()
  expect(renewed).not.toBe(secret)
  expect([(await ask(secret)).status, (await ask(renewed)).status]).toEqual([401, 200])
  await page.getByRole('button', { name: 'Done' }).click()

  await page.getByRole('button', { name: 'Keys: phone' }).click()
  await page.getByRole('menuitem', { name: 'Revoke' }).click()
  await page.getByRole('alertdialog').getByRole('button', { name: 'Revoke' }).click()
  await page.getByText('phone is no key any more.').waitFor()
  expect((await ask(renewed)).status).toBe(401)
  await page.getByRole('row').filter({ hasText: 'phone' }).waitFor({ state: 'detached' })
})

it('fits a phone, in French, in the dark', async () => {
  const admin = (JSON.parse(await mesh.run('keys', 'add', 'eyes', '--route', 'admin', '--json')) as { secret: string })
    .secret
  const view = await browser.view(mesh.http, { viewport: PHONE, theme: 'dark', language: 'fr-FR' })
  await view.context.addInitScript((key) => localStorage.setItem('skein.key', key), admin)
  for (const [path, title] of [
    ['/usage', 'Consommation'],
    ['/keys', 'Clés'],
    ['/devices', 'Appareils'],
    ['/join', 'Bienvenue dans votre maillage'],
  ] as const) {
    const page = await view.open(path)
    await page.getByRole('heading', { level: 1, name: title }).waitFor()
    await page.getByRole('status').getByText('Connecté').or(page.getByRole('main')).first().waitFor()
    await view.expectAxeClean()
    expect(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), path).toBeLessThanOrEqual(0)
  }
})
