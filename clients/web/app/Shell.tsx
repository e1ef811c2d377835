import { useComputed } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Button, Empty, IconButton, Notice, Toasts, useModal } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { App } from './app.ts'
import { ConnectionNotice } from './Access.tsx'
import { Guarded, Lazy } from './Lazy.tsx'
import { matchRoute, type Match } from './router.ts'
import { Sidebar } from './Sidebar.tsx'
import type { AppPage } from './app.ts'

/** The frame: the sidebar, the page of the address, and what lies over both. */
export function Shell({ app }: { readonly app: App }) {
  const { frame, router, routes } = app
  const isFolded = useComputed(() => frame.isNarrow.value || frame.isFolded.value).value
  const match = useComputed(() => matchRoute(routes, router.place.value.path)).value
  const { app: say } = words.value
  return (
    <div class={isFolded ? 'app app-folded' : 'app'}>
      <a class="app-skip" href="#content">
        {say.skip}
      </a>
      {!isFolded && (
        <aside class="app-sidebar" aria-label={say.navigation}>
          <Sidebar app={app} group={match?.page.group} close={() => {}} />
        </aside>
      )}
      <Main app={app} match={match} isFolded={isFolded} />
      {frame.isNarrow.value && frame.isDrawerOpen.value && <Drawer app={app} group={match?.page.group} />}
      <Opened app={app} />
      <Guarded>{app.overlay?.()}</Guarded>
      <Toasts />
    </div>
  )
}

const later = () => import('./later.ts')

/** What is opened over the page, loaded then. */
function Opened({ app }: { readonly app: App }) {
  const opened = app.frame.opened.value
  if (opened === undefined) return null
  return (
    <Lazy load={later} isSilent>
      {({ Palette, KeysDialog, KeyDialog }) => {
        const Shown = { palette: Palette, keys: KeysDialog, key: KeyDialog }[opened]
        return <Shown app={app} />
      }}
    </Lazy>
  )
}

/** The settings, loaded when they are gone to. */
export const SettingsPage = ({ app }: { readonly app: App }) => (
  <Lazy load={later}>{({ Settings }) => <Settings app={app} />}</Lazy>
)

interface MainProps {
  readonly app: App
  readonly match: Match<AppPage> | undefined
  readonly isFolded: boolean
}

function Main({ app, match, isFolded }: MainProps) {
  const { frame } = app
  const { app: say } = words.value
  const title = match?.page.title(match.params) ?? say.notFound
  const ref = useArrival(app, match, title)
  const isBare = match?.page.isBare === true
  return (
    <main ref={ref} id="content" class={isBare ? 'app-main app-main-bare' : 'app-main'} tabIndex={-1}>
      {isFolded && (
        <div class={isBare ? 'app-bar-floating' : 'app-bar'}>
          <IconButton
            icon={frame.isNarrow.value ? 'menu' : 'sidebar'}
            label={say.openSidebar}
            keys={`${say.ctrl} B`}
            aria-expanded={false}
            onClick={frame.toggleSidebar}
          />
        </div>
      )}
      <UpdateNotice app={app} />
      <ConnectionNotice app={app} />
      <div class="app-page">
        <Guarded key={match?.page.group ?? 'none'}>{match ? match.page.render(match.params) : <NotFound />}</Guarded>
      </div>
    </main>
  )
}

/** After going to another page: its title in the window, and the focus where the page begins. */
function useArrival(app: App, match: Match<AppPage> | undefined, title: string) {
  const ref = useRef<HTMLElement>(null)
  const isFirst = useRef(true)
  const { path } = app.router.place.value
  useEffect(() => {
    document.title = title === '' ? 'Skein' : `${title} · Skein`
  }, [title])
  useLayoutEffect(() => {
    app.frame.isDrawerOpen.value = false
    if (isFirst.current) {
      isFirst.current = false
      return undefined
    }
    if (match?.page.isBare === true) return undefined
    const main = ref.current!
    delete main.dataset['isArriving']
    const watch = new MutationObserver(() => arriveAt(main) && watch.disconnect())
    // once what the page shows first is there; a page that is still loaded has its title later
    const cancel = app.clock.frame(() => {
      if (!arriveAt(main)) watch.observe(main, { childList: true, subtree: true })
    })
    return () => {
      cancel()
      watch.disconnect()
    }
  }, [path])
  return ref
}

/**
 * Gives the focus to the title of the page, and to the page where there is none yet.
 *
 * @returns whether this is done: also when somebody has the focus elsewhere by now.
 */
function arriveAt(main: HTMLElement): boolean {
  const active = document.activeElement
  const isWaiting = main.dataset['isArriving'] === 'true'
  if (document.querySelector('dialog:modal') !== null || (isWaiting && active !== main)) {
    delete main.dataset['isArriving']
    return true
  }
  const title = main.querySelector<HTMLElement>('[data-page-title]')
  if (title === null) main.dataset['isArriving'] = 'true'
  else delete main.dataset['isArriving']
  if (active !== (title ?? main)) (title ?? main).focus({ preventScroll: true })
  return title !== null
}

function UpdateNotice({ app }: { readonly app: App }) {
  const { app: say } = words.value
  const [isClosed, setClosed] = useState(false)
  if (!app.update.isReady.value || isClosed) return null
  return (
    <div class="app-notice" role="status">
      <Notice tone="accent" action={{ label: say.update, onClick: app.update.apply }} onClose={() => setClosed(true)}>
        {say.updateReady}
      </Notice>
    </div>
  )
}

/** The sidebar over the page, where there is no room beside it. */
function Drawer({ app, group }: { readonly app: App; readonly group: string | undefined }) {
  const ref = useRef<HTMLDialogElement>(null)
  const close = (): void => void (app.frame.isDrawerOpen.value = false)
  useModal(ref)
  return (
    <dialog
      ref={ref}
      class="app-drawer"
      aria-label={words.value.app.navigation}
      onCancel={(event) => {
        event.preventDefault()
        close()
      }}
      onPointerDown={(event) => event.target === ref.current && close()}
    >
      <div class="app-sidebar">
        <Sidebar app={app} group={group} close={close} />
      </div>
    </dialog>
  )
}

function NotFound(): ComponentChildren {
  const { app } = words.value
  return (
    <div class="app-middle">
      <Empty
        icon="search"
        title={app.notFound}
        action={
          <Button kind="primary" onClick={() => location.assign('/')}>
            {app.toStart}
          </Button>
        }
      >
        {app.notFoundText}
      </Empty>
    </div>
  )
}
