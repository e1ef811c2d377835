/** What the frame around all pages is made of, and what pages give it. */
import { signal, type ReadonlySignal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import type { SmallStore, WebClock } from '../platform/index.ts'
import type { IconName } from '../ui/index.ts'
import type { Connection } from './connection.ts'
import type { Preferences } from './preferences.ts'
import type { Route, Router } from './router.ts'
import type { Shortcuts } from './shortcuts.ts'
import type { PageUpdate } from './update.ts'

export type Params = Readonly<Record<string, string>>

export interface AppPage {
  /** Of the document and of the bar. In the language of now. */
  readonly title: (params: Params) => string
  readonly render: (params: Params) => ComponentChildren
  /** Pages of one group stay as they are when only the parameters change, and their entry of the sidebar is marked. */
  readonly group: string
  /** It has a header of its own, and decides itself what takes the focus. */
  readonly isBare?: boolean
}

export interface NavigationEntry {
  readonly href: string
  readonly icon: IconName
  readonly label: () => string
  readonly group: string
  /** A small number beside it, where it is above 0. */
  readonly count?: ReadonlySignal<number>
}

/** Something that the palette finds. */
export interface Finding {
  readonly id: string
  readonly label: string
  readonly detail?: string
  readonly icon: IconName
  readonly keys?: string
  readonly run: () => void
}

export interface AppInit {
  readonly clock: WebClock
  readonly kept: SmallStore
  readonly connection: Connection
  readonly router: Router
  readonly shortcuts: Shortcuts
  readonly preferences: Preferences
  readonly update: PageUpdate
  readonly routes: readonly Route<AppPage>[]
  readonly navigation: readonly NavigationEntry[]
  /** Below the navigation: the list of chats. `close` closes the drawer of the phone. */
  readonly sidebar: (close: () => void) => ComponentChildren
  /** Over all pages, such as calls of devices that wait for a person. */
  readonly overlay?: () => ComponentChildren
  /** Sections of the settings that other parts give. */
  readonly settings?: () => ComponentChildren
  /** What a palette finds beside pages and commands. */
  readonly find?: (query: string) => Promise<readonly Finding[]>
}

const FOLDED = 'skein.sidebar'

/** What is open of the frame. */
export class Frame {
  readonly isFolded = signal(false)
  /** The sidebar as a drawer, where there is no room beside the page. */
  readonly isDrawerOpen = signal(false)
  readonly isNarrow = signal(false)
  readonly opened = signal<'palette' | 'keys' | 'key' | undefined>(undefined)
  readonly #kept: SmallStore

  constructor(kept: SmallStore, narrow: MediaQueryList) {
    this.#kept = kept
    this.isFolded.value = kept.get(FOLDED) === 'folded'
    this.isNarrow.value = narrow.matches
    narrow.addEventListener('change', () => {
      this.isNarrow.value = narrow.matches
      this.isDrawerOpen.value = false
    })
  }

  readonly toggleSidebar = (): void => {
    if (this.isNarrow.peek()) {
      this.isDrawerOpen.value = !this.isDrawerOpen.peek()
      return
    }
    this.isFolded.value = !this.isFolded.peek()
    this.#kept.set(FOLDED, this.isFolded.peek() ? 'folded' : undefined)
  }
}

export interface App extends AppInit {
  readonly frame: Frame
}
