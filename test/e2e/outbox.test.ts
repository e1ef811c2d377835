/** What is sent while nobody answers: it waits, is seen, can be taken back, and goes out in its order. */
import { expect, it } from 'vitest'
import { answers, say, untilComplete } from './answers.ts'
import { useBrowser, useMesh } from './harness/index.ts'

const mesh = useMesh({ args: ['--model', 'echo:parrot?tps=200&answer=3'] })
const browser = useBrowser()

interface Tasks {
  readonly data: readonly { readonly taskId: string }[]
}

it('the outbox waits for the coordinator, over a reload, and sends in its order', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open()
  await say(page, 'zero zero zero')
  await untilComplete(page)
  await view.untilKept()
  view.problems.allowAway()
  await mesh.stopCoordinator()

  await say(page, 'one one one')
  await page.getByText('Will be sent when the mesh is back.').waitFor()
  await say(page, 'two two two')
  await page.getByText('Waits for the answer before it.').waitFor()
  await say(page, 'three three three')
  await page.getByText(/3 messages wait/).waitFor()
  expect(await answers(page).count()).toBe(4)

  // it is on the disk: the page opens without anybody who serves it
  await page.reload()
  await page.getByText(/3 messages wait/).waitFor()
  await page.getByRole('button', { name: 'Take back' }).nth(2).click()
  await page.getByText(/2 messages wait/).waitFor()

  await mesh.startCoordinator()
  await page.getByText('one one one').nth(1).waitFor({ timeout: 60_000 })
  await page.getByText('two two two').nth(1).waitFor({ timeout: 60_000 })
  const { data } = await mesh.get<Tasks>('/mesh/v1/tasks')
  expect(data).toHaveLength(3)
  const texts = await Promise.all(
    data.map(async ({ taskId }) => (await mesh.get<{ text: string }>(`/mesh/v1/tasks/${taskId}`)).text.trim()),
  )
  // newest first
  expect(texts).toEqual(['two two two', 'one one one', 'zero zero zero'])
  await view.expectAxeClean()
})
