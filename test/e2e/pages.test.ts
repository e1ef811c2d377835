/** Every page, in both themes and on a phone: nothing that keeps somebody from using it, and nothing that stands out of it. */
import { beforeAll, describe, expect, it } from 'vitest'
import { BUNDLED_MODEL, PHONE, useBrowser, useMesh, type ViewInit } from './harness/index.ts'

const mesh = useMesh({ nodes: { attic: ['--model', 'echo:parrot?tps=50'] } })
const browser = useBrowser()

/** By the name of its picture. */
const PAGES: Readonly<Record<string, string>> = {
  home: '/',
  mesh: '/mesh',
  tasks: '/tasks',
  models: '/models',
  devices: '/devices',
  usage: '/usage',
  keys: '/keys',
  join: '/join',
  settings: '/settings',
  sync: '/settings/sync',
}

/** What only the mesh can have told, by page: what is looked at is the page with it. */
const TOLD: Readonly<Record<string, string>> = {
  mesh: 'attic',
  node: 'attic',
  models: BUNDLED_MODEL,
}

let taskId = ''
let peerId = ''

beforeAll(async () => {
  const response = await fetch(`${mesh.http}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      ...{ model: BUNDLED_MODEL, max_tokens: 24 },
      messages: [{ role: 'user', content: 'Tell me a short story about geese.' }],
    }),
  })
  await response.json()
  taskId = response.headers.get('x-skein-task')!
  const { data } = await mesh.get<{ data: readonly { name: string; peerId: string }[] }>('/mesh/v1/nodes')
  peerId = data.find(({ name }) => name === 'attic')!.peerId
}, 120_000)

const LOOKS: Readonly<Record<string, ViewInit>> = {
  light: { theme: 'light' },
  dark: { theme: 'dark' },
  // its words are the longest
  phone: { viewport: PHONE, isTouch: true, language: 'fr-FR' },
}

describe('every page', () => {
  it.each(Object.keys(LOOKS))('has nothing that axe finds, nor anything beside the window: %s', async (look) => {
    const view = await browser.view(mesh.http, LOOKS[look])
    const all = { ...PAGES, node: `/mesh/nodes/${peerId}`, task: `/tasks/${taskId}` }
    const found: string[] = []
    for (const [name, path] of Object.entries(all)) {
      const page = await view.open(path)
      await page.getByRole('main').getByRole('heading', { level: 1 }).first().waitFor()
      if (TOLD[name] !== undefined)
        await page.getByRole('main').getByText(TOLD[name]).filter({ visible: true }).first().waitFor()
      // what is asked of the mesh has come: pages say so while it has not
      await expect.poll(() => page.locator('[aria-busy="true"]').count(), { timeout: 15_000 }).toBe(0)
      found.push(...(await view.axeFindings()).map((each) => `${name}: ${each}`))
      const wider = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      )
      if (wider > 0) found.push(`${name}: it is ${wider} px wider than the window`)
      // of all pages one look is kept as a picture, of one of them all
      if (look === 'light' || name === 'mesh') await view.screenshot(look === 'light' ? name : `${name}-${look}`)
    }
    expect(found, found.join('\n')).toEqual([])
  })
})
