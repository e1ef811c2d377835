/** A chat that is to stay at home, in a mesh where only a cloud could answer. */
import { expect, it } from 'vitest'
import { lastAnswer, say, untilComplete } from './answers.ts'
import { CLOUD_MODEL, useBrowser, useMesh } from './harness/index.ts'

const mesh = useMesh({ command: 'coordinator', hasCloud: true })
const browser = useBrowser()

/** What the cloud was asked, beyond how it is and what it has. */
const asked = (): unknown[] => mesh.cloud!.requests.filter(({ method }) => method === 'POST').map(({ body }) => body)

it('is not answered, and the cloud hears nothing of it, until its user says that it may', async () => {
  const view = await browser.view(mesh.http)
  // the browser writes every answer that is a refusal into the console
  view.problems.allow(/status of 503/)
  const page = await view.open('/')
  await page.getByRole('button', { name: `Model: ${CLOUD_MODEL}` }).waitFor()
  const localOnly = page.getByRole('switch', { name: 'Local only' })
  expect(await localOnly.isChecked()).toBe(true)

  await say(page, 'Where do the geese go in winter?')
  await page.getByRole('alert').getByText('Nothing at home can answer this').waitFor()
  expect(asked()).toEqual([])
  expect(mesh.cloud!.received().includes('geese')).toBe(false)
  await view.expectAxeClean()
  await view.screenshot('local-only')

  // its server is one that is told how much at most
  await page.getByRole('button', { name: 'Chat settings' }).first().click()
  const settings = page.getByRole('dialog')
  await settings.getByLabel('Most tokens of an answer').fill('24')
  await page.keyboard.press('Escape')
  await settings.waitFor({ state: 'detached' })
  await localOnly.click()
  await page.getByRole('button', { name: 'Try again' }).click()
  await page.getByRole('article', { name: 'Answer' }).getByText('cloud', { exact: true }).waitFor()
  await untilComplete(page)
  expect(await lastAnswer(page).innerText()).not.toBe('')
  expect(asked()).toHaveLength(1)
  await view.screenshot('from-the-cloud')
})
