/** What tests of answers do on the page, as a person does. */
import type { Locator, Page } from 'playwright-core'

/** Writes it and sends it with Enter. */
export async function say(page: Page, text: string): Promise<void> {
  const box = page.getByRole('textbox', { name: 'Message', exact: true })
  await box.fill(text)
  await box.press('Enter')
}

export const answers = (page: Page): Locator => page.getByRole('article', { name: 'Answer', exact: true })

/** The text of the last answer, without what stands beneath. */
export const lastAnswer = (page: Page): Locator => answers(page).last().locator('.chats-answer')

/** Resolves once the last answer holds it. */
export async function untilSaid(page: Page, text: string | RegExp, timeoutMs = 60_000): Promise<void> {
  await lastAnswer(page).filter({ hasText: text }).waitFor({ timeout: timeoutMs })
}

/** Resolves once the last answer has ended: what can be done with it is there then. */
export async function untilComplete(page: Page, timeoutMs = 90_000): Promise<void> {
  await answers(page).last().getByRole('button', { name: 'Answer again', exact: true }).waitFor({ timeout: timeoutMs })
}

/** So many words, each its own: `word1 word2 …`. */
export const words = (count: number): string => Array.from({ length: count }, (_, i) => `word${i + 1}`).join(' ')
