/**
 * All words of the page. `words.value.chats.newChat` in a component: it is rendered anew when the language changes. English
 * is there from the start, but for those of pages that come later (`later.ts`); other languages come when they are chosen.
 */
import { signal, type ReadonlySignal } from '@preact/signals'
import { answersWords } from './answers.ts'
import { appWords } from './app.ts'
import { chatsWords } from './chats.ts'
import { language, type Language } from './language.ts'
import type { laterWords } from './later.ts'

export {
  currency,
  format,
  isLanguage,
  language,
  LANGUAGES,
  locale,
  preferredLanguage,
  type Language,
} from './language.ts'

const firstWords = { answers: answersWords, app: appWords, chats: chatsWords }

export type Words = typeof firstWords & typeof laterWords

// whoever shows a page that comes later waits for its words first: `loadLaterWords`
let english = firstWords as Words

const current = signal<Words>(english)
export const words: ReadonlySignal<Words> = current

/** Of each language, in itself. */
export const LANGUAGE_NAMES: Readonly<Record<Language, string>> = { en: 'English', fr: 'Français' }

/** Speaks `wanted` from now on. Rejects where its words cannot be loaded, and speaks as before. */
export async function speak(wanted: Language): Promise<void> {
  const loaded = wanted === 'en' ? english : (await import('./fr.ts')).french
  current.value = loaded
  language.value = wanted
}

/** What the pages of the mesh, of devices, access and synchronising say. */
export async function loadLaterWords(): Promise<void> {
  const { laterWords: later } = await import('./later.ts')
  const isSpoken = current.peek() === english
  english = { ...firstWords, ...later }
  if (isSpoken) current.value = english
}
