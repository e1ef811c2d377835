/** The dashboard over two real nodes: what runs is seen, a node is drained from the page, and the move is drawn and explained. */
import { fileURLToPath } from 'node:url'
import { beforeAll, expect, it } from 'vitest'
import { eventually } from '../fixtures/skein-process.ts'
import { PHONE, useBrowser, useMesh, type View } from './harness/index.ts'

/** Long enough that a busy machine moves it before it ends; it is cancelled at last. */
const SLOW = ['--model', 'echo:slow?tps=20&answer=3000']

/** A machine at 61 °C that takes 38 W. */
const WARM = ['--senses', fileURLToPath(new URL('../fixtures/warm-machine.json', import.meta.url))]

const mesh = useMesh({ args: SLOW, nodes: { attic: [...SLOW, ...WARM] } })
const browser = useBrowser()

interface Task {
  readonly taskId: string
  readonly state: string
  readonly attempts: number
  readonly node?: { readonly name: string; readonly peerId: string }
}

let view: View

const tasks = async (): Promise<readonly Task[]> => (await mesh.get<{ data: Task[] }>('/mesh/v1/tasks')).data

/** @param notOn the node that it leaves: the second attempt is counted before it has taken over. */
const runningTask = (attempts: number, notOn?: string): Promise<Task & { readonly node: NonNullable<Task['node']> }> =>
  eventually(
    `a task runs in attempt ${attempts}`,
    async () => {
      const task = (await tasks()).find(({ state }) => state === 'running')
      const isThere = task?.node !== undefined && task.attempts >= attempts && task.node.name !== notOn
      return isThere ? { ...task, node: task.node! } : undefined
    },
    60_000,
  )

beforeAll(async () => {
  view = await browser.view(mesh.http, { isKept: true })
})

it('shows who is there as a picture, as cards and as a table', async () => {
  const page = await view.open('/mesh')
  const picture = page.getByRole('group', { name: /^Picture of the mesh: 2 nodes/ })
  await picture.getByRole('link', { name: /^attic: (Ready|Working)/ }).waitFor()
  await picture.getByRole('link', { name: /^home: (Ready|Working)/ }).waitFor()
  expect(await page.getByRole('meter', { name: 'Slots' }).count()).toBe(2)
  const card = page.getByRole('listitem').filter({ hasText: 'attic' })
  await card.getByText('61 °C').waitFor()
  await card.getByText('38 W').waitFor()
  await page.getByRole('switch', { name: 'Table' }).click()
  const table = page.getByRole('region', { name: 'Nodes' })
  expect(await table.getByRole('row').count()).toBe(3)
  await view.expectAxeClean()
  await page.getByRole('switch', { name: 'Table' }).click()
  // the keyboard goes from node to node in the picture
  await picture.getByRole('link', { name: /^attic/ }).focus()
  await page.keyboard.press('Enter')
  await page.getByRole('heading', { name: 'attic', level: 1 }).waitFor()
  await page.getByText('skein drain attic').waitFor()
  await page.getByText('61 °C').waitFor()
})

it('shows a task as it begins, and an answer that goes on elsewhere when its node is drained from the page', async () => {
  const answer = fetch(`${mesh.http}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'slow', messages: [{ role: 'user', content: 'go on' }] }),
  }).then((response) => response.text())
  // only its end matters, and a test that fails before is not to fail by it as well
  answer.catch(() => {})
  const page = await view.open('/tasks')
  const { taskId, node } = await runningTask(1)
  const lanes = page.getByRole('group', { name: /^Tasks over time/ })
  await lanes.getByRole('link', { name: new RegExp(`, ${node.name}: Running`) }).waitFor()

  await view.open(`/mesh/nodes/${node.peerId}`)
  await page.getByRole('region', { name: 'Running' }).getByText('Running').first().waitFor()
  await page.getByRole('button', { name: 'Drain', exact: true }).click()
  const dialog = page.getByRole('alertdialog').or(page.getByRole('dialog'))
  await dialog.getByText('One answer runs there').waitFor()
  await dialog.getByText(`skein drain ${node.name}`).waitFor()
  await view.expectAxeClean()
  await dialog.getByRole('button', { name: 'Drain', exact: true }).click()
  await page.getByRole('button', { name: 'Uncordon' }).waitFor()
  const moved = await runningTask(2, node.name)

  await view.open('/tasks')
  await lanes.getByRole('link', { name: new RegExp(`, ${moved.node.name}: Running`) }).waitFor()
  await lanes.getByText('the node was drained').first().waitFor({ state: 'attached' })
  await view.expectAxeClean()
  await view.screenshot('tasks-moved')
  await page.getByLabel('State').selectOption('moved')
  await page.getByRole('switch', { name: 'Table' }).click()
  await page.getByRole('cell', { name: `${node.name} → ${moved.node.name}` }).waitFor()

  await view.open(`/tasks/${taskId}`)
  await page.getByRole('heading', { name: `Attempt 2 on ${moved.node.name}` }).waitFor()
  await page.getByText('takes no new work').first().waitFor()
  expect(await page.getByRole('img', { name: /Write the answer/ }).count()).toBeGreaterThan(0)
  await view.expectAxeClean()
  await view.screenshot('task')
  await page.getByRole('button', { name: 'Cancel task' }).click()
  await dialog.getByText(`skein cancel ${taskId}`).waitFor()
  await dialog.getByRole('button', { name: 'Cancel task' }).click()
  await page.getByText('Cancelled').first().waitFor()
  await answer

  await view.open(`/mesh/nodes/${node.peerId}`)
  await page.getByRole('button', { name: 'Uncordon' }).click()
  await page.getByRole('button', { name: 'Drain', exact: true }).waitFor()
})

it('draws courses of what it saw, each with a table', async () => {
  const page = await view.open('/mesh')
  const course = page.getByRole('figure').filter({ hasText: 'Tokens per second' })
  await course.locator('canvas').waitFor()
  await course.getByText('Tokens per second: table').click()
  await course.getByRole('columnheader', { name: 'Tokens per second' }).waitFor()
  await view.expectAxeClean()
})

it('shows a node that is lost, and what happened', async () => {
  const page = await view.open('/mesh')
  const picture = page.getByRole('group', { name: /^Picture of the mesh/ })
  await picture.getByRole('link', { name: /^attic: (Ready|Working)/ }).waitFor()
  await mesh.killNode('attic')
  await picture.getByRole('link', { name: /^attic: Away/ }).waitFor()
  await page.getByText('attic was lost').waitFor()
})

it('lists models with who has them, and takes what is to be pulled with the command for it', async () => {
  const phone = await browser.view(mesh.http, { viewport: PHONE, theme: 'dark', isTouch: true })
  const page = await phone.open('/models')
  const model = page.getByRole('article', { name: 'slow' })
  await model.getByRole('link', { name: /^home in memory/ }).waitFor()
  await page.getByRole('button', { name: 'Pull a model' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Model').fill('/etc/passwd')
  await dialog.getByRole('alert').getByText('Write hf:OWNER/REPOSITORY').waitFor()
  expect(await dialog.getByRole('button', { name: 'Pull', exact: true }).isDisabled()).toBe(true)
  await dialog.getByLabel('Model').fill('hf:owner/repository')
  await dialog.getByText('skein pull hf:owner/repository').waitFor()
  await phone.expectAxeClean()
  await dialog.getByLabel('Model').fill('no-such-model')
  phone.problems.allow(/\/api\/pull|status of 4/)
  await dialog.getByRole('button', { name: 'Pull', exact: true }).click()
  await dialog
    .getByRole('status')
    .or(dialog.getByText(/no-such-model/))
    .first()
    .waitFor()
})
