/** An answer through what happens meanwhile: reloads, networks, nodes and coordinators that go away. */
import { describe, expect, it } from 'vitest'
import { answers, lastAnswer, say, untilComplete, untilSaid, words } from './answers.ts'
import { useBrowser, useMesh } from './harness/index.ts'

const NODE = ['--model', 'echo:slow?tps=40&answer=280&ctx=20000']

interface Tasks {
  readonly data: readonly { readonly taskId: string; readonly state: string; readonly attempts: number }[]
}

describe('an answer goes on', () => {
  const mesh = useMesh({ command: 'coordinator', nodes: { laptop: NODE, desk: NODE } })
  const browser = useBrowser()
  const isWhole = (text: string | null): void => {
    const said = (text ?? '').trim().split(/\s+/)
    // in their order, none twice, none left out
    const expected = Array.from({ length: said.length }, (_, i) => `word${(i % 80) + 1}`)
    expect(said).toEqual(expected)
    expect(said.length).toBeGreaterThan(80)
  }

  it('after a reload in its middle, as the same task', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await say(page, words(80))
    await untilSaid(page, 'word20 ')
    await page.reload()
    // what was there is there at once
    await untilSaid(page, 'word10 ', 5000)
    await untilComplete(page)
    isWhole(await lastAnswer(page).textContent())
    const { data } = await mesh.get<Tasks>('/mesh/v1/tasks')
    expect(data).toHaveLength(1)
    expect(data[0]).toMatchObject({ state: 'completed', attempts: 1 })
    expect(await answers(page).count()).toBe(1)
  })

  it('when the network of the browser comes back', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await say(page, words(80))
    await untilSaid(page, 'word10 ')
    await view.offline(true)
    await page.reload().catch(() => undefined)
    await view.offline(false)
    await page.goto(`${view.origin}/`)
    await page.getByRole('link', { name: /word1/ }).first().click()
    await untilComplete(page)
    isWhole(await lastAnswer(page).textContent())
  })

  it('when its coordinator was killed and is there again', async () => {
    const view = await browser.view(mesh.http)
    view.problems.allowAway()
    const page = await view.open()
    await say(page, words(80))
    await untilSaid(page, 'word10 ')
    await mesh.stopCoordinator()
    await page.getByText('The connection broke. Coming back…').waitFor()
    await mesh.startCoordinator()
    await untilComplete(page)
    isWhole(await lastAnswer(page).textContent())
  })

  it('when its node is killed: a note says so, and nothing of it is broken', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await say(page, words(80))
    await untilSaid(page, 'word10 ')
    const [speaker] = await page.locator('.chats-made').allTextContents()
    const lost = ['laptop', 'desk'].find((name) => speaker!.includes(name))!
    await mesh.killNode(lost)
    const other = lost === 'laptop' ? 'desk' : 'laptop'
    await page.getByText(`${lost} was lost; the answer went on at ${other}.`).waitFor({ timeout: 60_000 })
    await untilComplete(page)
    isWhole(await lastAnswer(page).textContent())
    await page.getByText('moved once').waitFor()
  })
})
