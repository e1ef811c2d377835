/** Devices in the page: a board comes in by a credential and by its code, measures, is set by hand, and asks a person first. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import { claimOf, MqttBoard } from '../fixtures/mqtt-board.ts'
import { eventually } from '../fixtures/skein-process.ts'
import { useBrowser, useMesh, type View } from './harness/index.ts'

const mesh = useMesh({ args: ['--mqtt', '127.0.0.1:0'] })
const browser = useBrowser()
const CAPS = ['rf:temperature:C', 'wb:vent', 'wi:fan:%:0:100', 'we:mode::off|low|high', 'xn:reboot']
const ends: (() => Promise<void>)[] = []
let url = ''
let board: MqttBoard | undefined

beforeAll(async () => {
  const ready = await mesh.up.until(({ event }) => event === 'bridge', 60_000)
  url = `mqtt://${String((ready as unknown as { mqtt: string }).mqtt)}`
}, 90_000)
afterAll(async () => {
  await board?.stop()
  for (const end of ends) await end()
})

it('a credential is shown once, and its board is there with what it measures', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open('/devices')
  await page.getByRole('heading', { name: 'No devices yet' }).waitFor()
  await page.getByRole('button', { name: 'Add a device' }).first().click()
  await page.getByLabel('Name', { exact: true }).fill('Greenhouse')
  await page.getByRole('button', { name: 'Make its credential' }).click()
  const key = await page.getByRole('textbox', { name: 'Password' }).innerText()
  expect(await page.getByRole('textbox', { name: 'User and client id' }).innerText()).toBe('greenhouse')
  expect(await page.getByLabel('skein_secrets.h for the sketch').innerText()).toContain(key)
  await view.expectAxeClean()
  await page.getByRole('button', { name: 'Done' }).click()

  board = await MqttBoard.start({ url, id: 'greenhouse', key, caps: CAPS })
  board.tell({ temperature: 31.25, vent: false, fan: 40, mode: 'low' })
  const card = page.getByRole('listitem').filter({ hasText: 'greenhouse' })
  await card.getByText('Ready').waitFor()
  await card.getByText('31.3 °C').or(card.getByText('31.2 °C')).waitFor()
  board.tell({ temperature: 28, vent: false, fan: 40, mode: 'low' })
  await card.getByText('28 °C').waitFor()
  await view.expectAxeClean()
  await view.screenshot('devices')
})

it('a board that shows a code is named and let in', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open('/devices')
  ends.push(await claimOf(url, 'c0ffee', '471100'))
  await page.getByText('471100', { exact: true }).waitFor()
  await page.getByLabel('Name it').fill('cellar')
  await page.getByText('skein devices approve 471100 --name cellar').waitFor()
  await view.expectAxeClean()
  await page.getByRole('button', { name: 'Let in' }).click()
  await page.getByText('cellar is in.').waitFor()
  await page.getByText('471100', { exact: true }).waitFor({ state: 'detached' })
})

/** What the board was told to do last. */
const told = (count: number) =>
  eventually('the board is told', () => Promise.resolve(board!.done.length >= count ? board!.done.at(-1) : undefined))

it('what is set by hand is confirmed beside it, done by the board, and in the log', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open('/devices/greenhouse')
  await page.getByRole('group', { name: 'vent' }).getByRole('button', { name: 'On' }).click()
  const asked = page.getByRole('group', { name: 'set greenhouse vent to On' })
  await asked.waitFor()
  expect(board!.done).toEqual([])
  await view.expectAxeClean()
  await view.screenshot('device')
  await asked.getByRole('button', { name: 'Approve' }).click()
  expect(await told(1)).toEqual({ name: 'vent', value: true })
  await page.getByText('greenhouse vent: On').waitFor()
  await page.getByRole('cell', { name: 'vent → On' }).waitFor()

  await page.getByLabel('It may be set').selectOption('yes')
  await page.getByRole('button', { name: 'Save' }).click()
  await page.getByText('Saved.').waitFor()
  await page.getByRole('slider', { name: 'Value of fan' }).fill('75')
  await page
    .locator('.house-control')
    .filter({ has: page.getByRole('slider') })
    .getByRole('button', { name: 'Set' })
    .click()
  expect(await told(2)).toEqual({ name: 'fan', value: 75 })
  await page.getByLabel('Value of mode').selectOption('high')
  await page
    .locator('.house-control')
    .filter({ has: page.getByLabel('Value of mode') })
    .getByRole('button', { name: 'Set' })
    .click()
  expect(await told(3)).toEqual({ name: 'mode', value: 'high' })
  await page.getByRole('button', { name: 'Run' }).click()
  expect(await told(4)).toEqual({ name: 'reboot', value: undefined })
})

/** Asks as another program does, and leaves the answer to a person. */
async function callVent(value: boolean): Promise<string> {
  const response = await fetch(`${mesh.http}/mesh/v1/devices/greenhouse/calls`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ capability: 'vent', value }),
  })
  expect(response.status).toBe(202)
  return ((await response.json()) as { call: string }).call
}

const outcomeOf = (call: string): Promise<string> =>
  eventually('the call has ended', async () => {
    const { data } = await mesh.get<{ data: { call?: string; outcome?: string }[] }>(
      '/mesh/v1/devices/greenhouse/calls',
    )
    return data.find((each) => each.call === call)?.outcome
  })

it('a call of somebody else is answered from any page: no, then yes', async () => {
  await mesh.run('devices', 'policy', 'greenhouse', '--act', 'confirm')
  await eventually('the policy holds', async () => {
    const { policy } = await mesh.get<{ policy: { act: string } }>('/mesh/v1/devices/greenhouse')
    return policy.act === 'confirm' ? true : undefined
  })
  const view = await browser.view(mesh.http)
  const page = await view.open('/usage')
  await page.getByRole('heading', { level: 1, name: 'Usage' }).waitFor()
  const before = board!.done.length
  const refused = await callVent(false)
  const card = page.getByRole('group', { name: 'set greenhouse vent to Off' })
  await card.waitFor()
  await view.expectAxeClean()
  await view.screenshot('device-confirmation')
  await card.getByRole('button', { name: 'Decline' }).click()
  await card.waitFor({ state: 'detached' })
  expect(await outcomeOf(refused)).toBe('refused')
  expect(board!.done).toHaveLength(before)
  const done = await callVent(false)
  await card.getByRole('button', { name: 'Approve' }).click()
  expect(await outcomeOf(done)).toBe('done')
  expect(board!.done.at(-1)).toEqual({ name: 'vent', value: false })
})

it('a device that goes says so, and one that is shut out is gone', async () => {
  const view: View = await browser.view(mesh.http)
  const page = await view.open('/devices/greenhouse')
  await page.getByText('Ready', { exact: true }).waitFor()
  await board!.stop()
  board = undefined
  await page.getByText('Signed off', { exact: true }).waitFor()
  await page.getByRole('button', { name: 'Shut out' }).click()
  const dialog = page.getByRole('alertdialog')
  await dialog.getByText('skein devices revoke greenhouse').waitFor()
  await dialog.getByRole('button', { name: 'Shut out' }).click()
  await page.getByText('greenhouse is shut out.').waitFor()
  await page.getByRole('heading', { level: 1, name: 'Devices' }).waitFor()
  await page.getByRole('link', { name: 'greenhouse' }).waitFor({ state: 'detached' })
})
