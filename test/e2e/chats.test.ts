/** A person's chats: their branches, their list, what is found in them, and what they are asked with. */
import type { Page } from 'playwright-core'
import { describe, expect, it } from 'vitest'
import { answers, say, untilComplete, untilSaid } from './answers.ts'
import { PHONE, useBrowser, useMesh } from './harness/index.ts'

const questions = (page: Page) => page.getByRole('article', { name: 'You', exact: true })
const list = (page: Page) => page.getByRole('region', { name: 'Chats', exact: true })
const entry = (page: Page, title: string) => list(page).getByRole('link', { name: title, exact: true })

/** Of the chat that is looked at. */
async function menu(page: Page, action: string): Promise<void> {
  await page
    .locator('.chats-header')
    .getByRole('button', { name: /^More for/ })
    .click()
  await page.getByRole('menuitem', { name: action }).click()
}

describe('chats', () => {
  // two models that say what they were asked: the second one in reverse order of the list
  const mesh = useMesh({
    args: ['--model', 'echo:parrot?tps=400&answer=12', '--model', 'echo:raven?tps=400&answer=12'],
  })
  const browser = useBrowser()

  it('branch where a message is edited or answered again, and every branch is kept', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await say(page, 'first question')
    await untilComplete(page)
    await say(page, 'second question')
    await untilSaid(page, 'second question')
    await untilComplete(page)

    // from the empty box, as with the arrow in a terminal
    await page.getByRole('textbox', { name: 'Message', exact: true }).press('ArrowUp')
    const edit = page.getByRole('textbox', { name: 'Edit your message' })
    expect(await edit.inputValue()).toBe('second question')
    await edit.fill('another question')
    await edit.press('Enter')
    await untilSaid(page, 'another question')
    await untilComplete(page)
    await page.getByRole('group', { name: 'Version 2 of 2' }).waitFor()
    await page.getByRole('button', { name: 'Earlier version' }).click()
    await questions(page).getByText('second question').waitFor()
    expect(await questions(page).count()).toBe(2)

    await page.getByRole('button', { name: 'Answer again', exact: true }).last().click()
    await answers(page).last().getByRole('group', { name: 'Version 2 of 2' }).waitFor()
    await untilComplete(page)
    // with the keyboard: the focus stays where it was pressed
    const earlier = answers(page).last().getByRole('button', { name: 'Earlier version' })
    await earlier.focus()
    await page.keyboard.press('Enter')
    await answers(page).last().getByRole('group', { name: 'Version 1 of 2' }).waitFor()
    expect(await earlier.evaluate((button) => button === document.activeElement)).toBe(true)

    await page.reload()
    await answers(page).last().getByRole('group', { name: 'Version 1 of 2' }).waitFor()
    await questions(page).last().getByRole('group', { name: 'Version 1 of 2' }).waitFor()
    await view.expectAxeClean()
  })

  it('are answered by the model that is chosen, once or from now on', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await page.getByRole('button', { name: 'Model: parrot' }).click()
    await page.getByRole('menuitemradio', { name: /raven.*in memory on home/ }).waitFor()
    await view.expectAxeClean()
    await page.getByRole('menuitemradio', { name: 'raven' }).click()
    await say(page, 'who answers')
    await untilComplete(page)
    const asked = await mesh.get<{ data: { model: string }[] }>('/mesh/v1/tasks?limit=1')
    expect(asked.data[0]!.model).toBe('raven')
    await page.getByRole('button', { name: 'Answer again with another model' }).click()
    await page.getByRole('menuitem', { name: 'parrot' }).click()
    await answers(page).last().getByRole('group', { name: 'Version 2 of 2' }).waitFor()
    await untilComplete(page)
    const again = await mesh.get<{ data: { model: string }[] }>('/mesh/v1/tasks?limit=1')
    expect(again.data[0]!.model).toBe('parrot')
    await page.getByRole('button', { name: 'Model: raven' }).waitFor()
    // what was chosen is where the next chat begins
    await page.getByRole('button', { name: 'New chat', exact: true }).click()
    await page.getByRole('button', { name: 'Model: raven' }).waitFor()
  })

  it('say where and why an answer was made there', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await say(page, 'where are you')
    await untilComplete(page)
    await answers(page)
      .last()
      .getByRole('button', { name: /home.*this computer.*tokens.*free/ })
      .click()
    const why = page.getByRole('dialog', { name: 'Where this answer was made' })
    await why.getByText('The best place when it was asked.').waitFor()
    await why.getByText('Local only: nothing of it left your devices.').waitFor()
    await view.expectAxeClean()
    await view.screenshot('why-here')
    await page.keyboard.press('Escape')
    await why.waitFor({ state: 'detached' })
  })

  it('are renamed, put into folders, pinned, and deleted unless that is taken back', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    for (const title of ['apples', 'birds']) {
      await page.getByRole('button', { name: 'New chat', exact: true }).click()
      await say(page, title)
      await untilComplete(page)
    }
    await menu(page, 'Rename')
    await page.getByRole('textbox', { name: 'Title' }).fill('Birds of the garden')
    await page.keyboard.press('Enter')
    await entry(page, 'Birds of the garden').waitFor()
    await menu(page, 'Move to a folder')
    await page.getByRole('textbox', { name: 'Folder' }).fill('Nature')
    await page.keyboard.press('Enter')
    const folder = list(page).getByRole('button', { name: /Folder Nature/ })
    await folder.click()
    await entry(page, 'Birds of the garden').waitFor({ state: 'detached' })
    await folder.click()

    await entry(page, 'apples').click()
    await menu(page, 'Pin')
    await list(page).getByText('Pinned').waitFor()
    await view.expectAxeClean()
    await menu(page, 'Delete')
    await entry(page, 'apples').waitFor({ state: 'detached' })
    await page.getByRole('button', { name: 'Undo' }).click()
    await entry(page, 'apples').click()
    await answers(page).first().waitFor()

    // by the keyboard alone, and for good
    await entry(page, 'Birds of the garden').focus()
    await page.keyboard.press('Delete')
    await entry(page, 'Birds of the garden').waitFor({ state: 'detached' })
    await page.reload()
    await entry(page, 'apples').waitFor()
    expect(await list(page).getByRole('link').count()).toBe(1)
  })

  it('are found by what was said in them, and opened there', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await say(page, 'The greenhouse needs a new thermometer')
    await untilComplete(page)
    await page.getByRole('button', { name: 'New chat', exact: true }).click()
    await say(page, 'Something else')
    await untilComplete(page)
    await page.getByRole('searchbox', { name: 'Search chats' }).fill('thermom')
    const hit = list(page)
      .getByRole('link')
      .filter({ has: page.locator('mark', { hasText: /thermom/i }) })
    await hit.first().waitFor()
    await view.expectAxeClean()
    await hit.last().click()
    await questions(page).getByText('The greenhouse needs').waitFor()
    await page.getByRole('button', { name: 'Clear the search' }).click()
    await entry(page, 'Something else').waitFor()
  })

  it('take texts as files, and refuse what is none', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    const drop = await page.evaluateHandle(() => {
      const data = new DataTransfer()
      data.items.add(new File(['moisture,31\n'], 'soil.csv', { type: 'text/csv' }))
      data.items.add(new File([new Uint8Array([0, 1, 2, 255])], 'photo.jpg', { type: 'image/jpeg' }))
      return data
    })
    await page.locator('.chats-composer').dispatchEvent('drop', { dataTransfer: drop })
    await page.getByText('photo.jpg is not a text file.').waitFor()
    await page.getByRole('button', { name: 'Remove soil.csv' }).waitFor()
    await view.expectAxeClean()
    await say(page, 'what does it say')
    await untilSaid(page, 'moisture')
    await untilComplete(page)
    await questions(page).getByText('soil.csv').click()
    await questions(page).getByText('moisture,31').waitFor()
  })

  it('keep their settings, and a draft that was not sent', async () => {
    const view = await browser.view(mesh.http)
    const page = await view.open()
    await page.getByRole('button', { name: 'Chat settings' }).click()
    const settings = page.getByRole('dialog', { name: 'Chat settings' })
    await settings.getByRole('textbox', { name: 'System prompt' }).fill('Speak like a sailor.')
    await settings.getByRole('textbox', { name: 'Temperature' }).fill('3')
    await settings.getByText('From 0 to 2.').waitFor()
    await settings.getByRole('textbox', { name: 'Temperature' }).fill('0,5')
    await settings.getByRole('textbox', { name: 'Most tokens' }).fill('4')
    await settings.getByText('From 0 to 2.').waitFor({ state: 'detached' })
    await view.expectAxeClean()
    await page.keyboard.press('Escape')
    await say(page, 'one two three four five six seven eight')
    await page.getByText('It reached its limit of tokens.').waitFor()
    await page.getByRole('textbox', { name: 'Message', exact: true }).fill('half a thought')
    await page.reload()
    await page.getByText('It reached its limit of tokens.').waitFor()
    expect(await page.getByRole('textbox', { name: 'Message', exact: true }).inputValue()).toBe('half a thought')
    await page.getByRole('button', { name: 'Chat settings' }).click()
    expect(await settings.getByRole('textbox', { name: 'System prompt' }).inputValue()).toBe('Speak like a sailor.')
    expect(await settings.getByRole('textbox', { name: 'Temperature' }).inputValue()).toBe('0.5')
  })

  it('are read on a phone, in the dark, in French', async () => {
    const view = await browser.view(mesh.http, { viewport: PHONE, theme: 'dark', language: 'fr-FR', isTouch: true })
    const page = await view.open()
    // what is for the model that is there, and not for the one that comes with Skein
    await page.getByRole('button', { name: /Une explication/ }).tap()
    await page.locator('.chats-answer').filter({ hasText: 'Explique' }).waitFor()
    await page.getByRole('button', { name: 'Répondre à nouveau', exact: true }).waitFor()
    await page.getByRole('switch', { name: 'Local' }).waitFor()
    // nothing is wider than the screen
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(PHONE.width)
    await view.expectAxeClean()
    await view.screenshot('chat-phone')
  })
})
