/** Coming in: a code on the page that another machine types, an invite, and who is here. */
import { createServer } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { skein, SkeinProcess } from '../fixtures/skein-process.ts'
import { PHONE, useBrowser, useMesh } from './harness/index.ts'

const JOIN_MS = 60_000

/** A port that was free a moment ago: the address that a person would be told. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  return port
}
const port = await freePort()
const address = `/ip4/127.0.0.1/tcp/${port}`
const mesh = useMesh({ args: ['--mqtt', 'off', '--listen', address] })
const browser = useBrowser()

const dataOf = (name: string): string[] => ['--data', join(mesh.folder, name), '--name', name, '--no-mdns']

it('a machine joins by the code that the page shows, and appears there', async () => {
  const view = await browser.view(mesh.http)
  const page = await view.open('/join')
  await page.getByRole('heading', { level: 1, name: 'Welcome to your mesh' }).waitFor()
  await page.getByRole('button', { name: 'Show a code' }).click()
  const shown = page.locator('output.house-code')
  await shown.waitFor()
  const code = (await shown.innerText()).trim()
  expect(code).toMatch(/^[2-9A-Z]{4}-[2-9A-Z]{4}$/)
  await page.getByText(`skein join ${code}`, { exact: true }).waitFor()
  await page.getByText('5 tries left').waitFor()
  await view.expectAxeClean()
  await view.screenshot('join-code')

  const wrong = (code.startsWith('A') ? 'B' : 'A') + code.slice(1)
  const stranger = await skein(['join', wrong, '--bootstrap', address, ...dataOf('stranger')], { timeoutMs: JOIN_MS })
  expect(stranger.code).not.toBe(0)
  expect(stranger.stderr).toContain('no such code is open')
  await page.getByText('4 tries left').waitFor()

  const typed = code.toLowerCase().replace('-', '')
  const joined = await skein(['join', typed, '--bootstrap', address, ...dataOf('laptop')], { timeoutMs: JOIN_MS })
  expect(joined.stderr + joined.stdout).toContain('laptop is a member now')
  await page.getByText('laptop has joined.').waitFor()
  await shown.waitFor({ state: 'detached' })

  const args = ['node', '--name', 'laptop', '--no-mdns', '--upstream', 'off', '--model', 'echo:a']
  const node = await SkeinProcess.start({
    args: [...args, '--listen', '/ip4/127.0.0.1/tcp/0', '--bootstrap', address],
    dataDir: join(mesh.folder, 'laptop'),
    readyMs: JOIN_MS,
  })
  mesh.nodes.set('laptop', node)
  const row = page.getByRole('list', { name: 'Who is here' }).getByRole('listitem').filter({ hasText: 'laptop' })
  await row.getByText('serving', { exact: true }).waitFor()
  await view.screenshot('join-members')
})

it('an invite is shown as a code to photograph, as text, and as the command', async () => {
  const view = await browser.view(mesh.http, { viewport: PHONE, theme: 'dark' })
  const page = await view.open('/join')
  await page.getByRole('tab', { name: 'By invite' }).click()
  await page.getByLabel('For how many machines').selectOption('3')
  await page.getByRole('button', { name: 'Make an invite' }).click()
  await page.getByRole('img', { name: 'The invite as a QR code' }).locator('path').waitFor()
  const command = await page.getByRole('textbox', { name: 'On the other machine' }).innerText()
  expect(command).toMatch(/^skein node --join skein1[\w-]+$/)
  await page.getByText(/^Holds for .*, for 3 machines$/).waitFor()
  await view.expectAxeClean()
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth)
  expect(wide).toBeLessThanOrEqual(0)
  await view.screenshot('join-invite-phone')
})
