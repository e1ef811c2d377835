/** Colours and language of this browser, kept in it and followed by its other tabs. */
import { signal, type ReadonlySignal } from '@preact/signals'
import type { SmallStore } from '../platform/index.ts'
import { isLanguage, language, preferredLanguage, speak, words, type Language } from '../words/index.ts'
import { uiLabels } from '../ui/index.ts'

export const THEMES = ['system', 'light', 'dark'] as const
export type Theme = (typeof THEMES)[number]

/** `public/theme.js` reads the same one before the first paint. */
const THEME = 'skein.theme'
const LANGUAGE = 'skein.language'

const isTheme = (value: unknown): value is Theme => THEMES.includes(value as Theme)

/** In the words of now. */
export function themeText(theme: Theme): string {
  const { app } = words.value
  return { system: app.themeSystem, light: app.themeLight, dark: app.themeDark }[theme]
}

export class Preferences {
  readonly #kept: SmallStore
  readonly #theme = signal<Theme>('system')
  readonly #root: HTMLElement

  constructor(kept: SmallStore, root: HTMLElement) {
    this.#kept = kept
    this.#root = root
    kept.listen(THEME, (value) => this.#show(isTheme(value) ? value : 'system'))
    kept.listen(LANGUAGE, (value) => isLanguage(value) && void this.#speak(value))
  }

  get theme(): ReadonlySignal<Theme> {
    return this.#theme
  }

  /** Takes what is kept, else what the browser prefers. Waits for the words of the language. */
  async start(languages: readonly string[]): Promise<void> {
    const theme = this.#kept.get(THEME)
    this.#show(isTheme(theme) ? theme : 'system')
    const kept = this.#kept.get(LANGUAGE)
    await this.#speak(isLanguage(kept) ? kept : preferredLanguage(languages))
  }

  setTheme(theme: Theme): void {
    this.#kept.set(THEME, theme === 'system' ? undefined : theme)
    this.#show(theme)
  }

  async setLanguage(wanted: Language): Promise<void> {
    this.#kept.set(LANGUAGE, wanted)
    await this.#speak(wanted)
  }

  #show(theme: Theme): void {
    this.#theme.value = theme
    if (theme === 'system') delete this.#root.dataset['theme']
    else this.#root.dataset['theme'] = theme
  }

  async #speak(wanted: Language): Promise<void> {
    try {
      await speak(wanted)
    } catch {
      // its words cannot be loaded now: the page stays in the language it has
    }
    this.#root.lang = language.peek()
    uiLabels.value = words.peek().app.ui
  }
}
