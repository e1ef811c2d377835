/** A model that acts on a device while it answers: a person is asked in the chat, and nothing is done before. */
import type { Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { MqttBoard } from '../fixtures/mqtt-board.ts'
import { eventually } from '../fixtures/skein-process.ts'
import { answers, say, untilComplete } from './answers.ts'
import { useBrowser, useMesh, type View } from './harness/index.ts'

// the model that comes with Skein: it calls tools by itself
const mesh = useMesh({ args: ['--mqtt', '127.0.0.1:0'] })
const browser = useBrowser()
let board: MqttBoard

beforeAll(async () => {
  const ready = await mesh.up.until(({ event }) => event === 'bridge', 60_000)
  const url = `mqtt://${String((ready as unknown as { mqtt: string }).mqtt)}`
  const added = JSON.parse(await mesh.run('devices', 'add', 'greenhouse', '--json')) as { key: string }
  board = await MqttBoard.start({ url, id: 'greenhouse', key: added.key, caps: ['rf:temperature:C', 'wb:vent'] })
  board.tell({ temperature: 31.25, vent: false })
  await mesh.run('devices', 'policy', 'greenhouse', '--act', 'confirm')
  await eventually('the board is ready', async () => {
    const { presence } = await mesh.get<{ presence: { state: string } }>('/mesh/v1/devices/greenhouse')
    return presence.state === 'ready' ? true : undefined
  })
}, 120_000)
afterAll(() => board.stop())

/** A chat whose model may act, and says the same each time. */
async function actingChat(): Promise<{ readonly view: View; readonly page: Page }> {
  const view = await browser.view(mesh.http)
  const page = await view.open()
  await page.getByRole('button', { name: 'Chat settings' }).click()
  const settings = page.getByRole('dialog', { name: 'Chat settings' })
  await settings.getByLabel('Devices').selectOption('act')
  await settings.getByRole('textbox', { name: 'Temperature' }).fill('0')
  await page.keyboard.press('Escape')
  return { view, page }
}

const call = (page: Page) => answers(page).last().getByRole('group', { name: 'Device greenhouse.vent' })

/** Reloads the page at the very moment at which its last answer shows as ended. @returns what waits for that. */
async function leavesAtTheEnd(page: Page): Promise<() => Promise<unknown>> {
  await page.evaluate(() => {
    const leaveIfEnded = (): void => {
      const last = [...document.querySelectorAll('article[aria-label="Answer"]')].at(-1)
      if (last?.querySelector('button[aria-label="Answer again"]')) location.reload()
    }
    new MutationObserver(leaveIfEnded).observe(document.body, { subtree: true, childList: true })
  })
  const loaded = page.waitForEvent('load', { timeout: 60_000 })
  // who waits for it hears of a failure; a test that has failed before does not
  loaded.catch(() => undefined)
  return () => loaded
}

it('asks before it acts: declined nothing is done, approved it is', async () => {
  // what a try before this one has done is none of this one's
  board.done.splice(0)
  const { view, page } = await actingChat()
  await say(page, 'Open the greenhouse vent.')
  await call(page).getByRole('button', { name: 'Decline' }).waitFor({ timeout: 60_000 })
  await call(page).getByText('The model wants to use greenhouse.vent. Let it?').waitFor()
  expect(board.done).toEqual([])
  await view.expectAxeClean()
  await call(page).getByRole('button', { name: 'Decline' }).click()
  await call(page).getByText('Declined').waitFor()
  await untilComplete(page)
  expect(board.done).toEqual([])

  await page.getByRole('button', { name: 'Answer again', exact: true }).click()
  await call(page).getByRole('button', { name: 'Approve' }).waitFor({ timeout: 60_000 })
  await view.screenshot('device-tool')
  const left = await leavesAtTheEnd(page)
  await call(page).getByRole('button', { name: 'Approve' }).click()
  await left()
  expect(board.done).toEqual([{ name: 'vent', value: true }])

  // what was called is kept with the answer: what a person sees as ended is on the disk
  await call(page).getByText('Done', { exact: true }).waitFor()
  await call(page).getByText('greenhouse.vent').click()
  await call(page).getByText('"open"').or(call(page).getByText('true')).first().waitFor()
})
