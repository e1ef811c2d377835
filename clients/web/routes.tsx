/** Every address of the page, and what it shows. */
import {
  Lazy,
  SettingsPage,
  type App,
  type AppPage,
  type NavigationEntry,
  type Params,
  type Route,
} from './app/index.ts'
import { ChatPage, type Chats } from './chats/index.ts'
import type { LocalStore } from './store/index.ts'
import type * as SyncModule from './sync/index.ts'
import { loadLaterWords, words } from './words/index.ts'

/** Pages of the mesh and of the house come when they are first gone to. */
const mesh = () => spoken(import('./mesh/index.ts'))
const house = () => spoken(import('./house/index.ts'))

/** The page, with its words. */
async function spoken<M>(loading: Promise<M>): Promise<M> {
  const [module] = await Promise.all([loading, loadLaterWords()])
  return module
}

const names = () => words.value.app.pageNames

export interface Parts {
  /** Asked for when a page is shown, as it is made of the pages. */
  readonly app: () => App
  readonly chats: Chats
  readonly store: LocalStore
  /** Loaded once. */
  readonly sync: () => Promise<{ readonly sync: SyncModule.Sync; readonly module: typeof SyncModule }>
}

export function routesOf(parts: Parts): Route<AppPage>[] {
  const { app, chats } = parts
  return [...chatRoutes(chats), ...meshRoutes(app), ...houseRoutes(app), ...settingsRoutes(parts)]
}

function chatRoutes(chats: Chats): Route<AppPage>[] {
  const page: AppPage = {
    group: 'chat',
    isBare: true,
    title: () => chats.current.value?.settings.value?.title ?? '',
    render: ({ id }) => <ChatPage chats={chats} chatId={id} />,
  }
  return ['/', '/chat', '/chat/:id'].map((pattern) => ({ pattern, page }))
}

const given = (app: () => App) => {
  const { connection, router } = app()
  return { gateway: connection, go: router.go, keys: connection }
}

const route = (pattern: string, group: string, title: () => string, render: AppPage['render']): Route<AppPage> => ({
  pattern,
  page: { group, title, render },
})

function meshRoutes(app: () => App): Route<AppPage>[] {
  const node = ({ peerId = '' }: Params) => (
    <Lazy load={mesh}>{({ NodePage }) => <NodePage key={peerId} {...given(app)} peerId={peerId} />}</Lazy>
  )
  const task = ({ taskId = '' }: Params) => (
    <Lazy load={mesh}>{({ TaskPage }) => <TaskPage key={taskId} {...given(app)} taskId={taskId} />}</Lazy>
  )
  return [
    route(
      '/mesh',
      'mesh',
      () => names().mesh,
      () => <Lazy load={mesh}>{({ MeshPage }) => <MeshPage {...given(app)} />}</Lazy>,
    ),
    route('/mesh/nodes/:peerId', 'mesh', () => names().node, node),
    route(
      '/tasks',
      'tasks',
      () => names().tasks,
      () => <Lazy load={mesh}>{({ TasksPage }) => <TasksPage {...given(app)} />}</Lazy>,
    ),
    route('/tasks/:taskId', 'tasks', () => names().task, task),
    route(
      '/models',
      'models',
      () => names().models,
      () => <Lazy load={mesh}>{({ ModelsPage }) => <ModelsPage {...given(app)} />}</Lazy>,
    ),
  ]
}

function houseRoutes(app: () => App): Route<AppPage>[] {
  const device = ({ deviceId = '' }: Params) => (
    <Lazy load={house}>{({ DevicePage }) => <DevicePage key={deviceId} {...given(app)} deviceId={deviceId} />}</Lazy>
  )
  return [
    route(
      '/devices',
      'devices',
      () => names().devices,
      () => <Lazy load={house}>{({ DevicesPage }) => <DevicesPage {...given(app)} />}</Lazy>,
    ),
    route('/devices/:deviceId', 'devices', () => names().device, device),
    route(
      '/usage',
      'usage',
      () => names().usage,
      () => <Lazy load={house}>{({ UsagePage }) => <UsagePage {...given(app)} />}</Lazy>,
    ),
    route(
      '/keys',
      'keys',
      () => names().keys,
      () => <Lazy load={house}>{({ KeysPage }) => <KeysPage {...given(app)} />}</Lazy>,
    ),
    route(
      '/join',
      'join',
      () => names().join,
      () => <Lazy load={house}>{({ JoinPage }) => <JoinPage {...given(app)} />}</Lazy>,
    ),
  ]
}

function settingsRoutes({ app, sync }: Parts): Route<AppPage>[] {
  const panels = () => panelsOf(sync)
  return [
    route(
      '/settings',
      'settings',
      () => names().settings,
      () => <SettingsPage app={app()} />,
    ),
    route(
      '/settings/sync',
      'settings',
      () => names().sync,
      () => <Lazy load={panels}>{({ SyncPanel, sync }) => <SyncPanel sync={sync} />}</Lazy>,
    ),
  ]
}

async function panelsOf(loading: Parts['sync']) {
  const [{ sync, module }] = await Promise.all([loading(), loadLaterWords()])
  return { ...(await module.loadPanels()), sync }
}

/** Files of chats, in and out: a section of the settings. */
export function filesOf({ sync, store }: Pick<Parts, 'sync' | 'store'>) {
  const panels = () => panelsOf(sync)
  return () => (
    <Lazy load={panels} isSilent>
      {({ FilesPanel }) => <FilesPanel store={store} />}
    </Lazy>
  )
}

const NONE: ReadonlySet<string> = new Set()

/** Calls of devices that wait for a person, wherever in the page that person is; the page of devices has its own. */
export const overlayOf = (app: () => App, chats: Chats) => {
  const { path } = app().router.place.value
  const isHidden = path.startsWith('/devices')
  const shownElsewhere = path === '/' || path.startsWith('/chat') ? chats.asking.value : NONE
  return (
    <Lazy load={house} isSilent>
      {({ CallConfirmations }) => <CallConfirmations gateway={app().connection} {...{ isHidden, shownElsewhere }} />}
    </Lazy>
  )
}

/** The entries of the sidebar. */
export const NAVIGATION: readonly NavigationEntry[] = [
  { href: '/mesh', icon: 'mesh', group: 'mesh', label: () => names().mesh },
  { href: '/tasks', icon: 'tasks', group: 'tasks', label: () => names().tasks },
  { href: '/models', icon: 'cube', group: 'models', label: () => names().models },
  { href: '/devices', icon: 'device', group: 'devices', label: () => names().devices },
  { href: '/usage', icon: 'chart', group: 'usage', label: () => names().usage },
  { href: '/keys', icon: 'key', group: 'keys', label: () => names().keys },
  { href: '/join', icon: 'plus', group: 'join', label: () => names().join },
]
