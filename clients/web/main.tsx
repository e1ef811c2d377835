/** The page: its parts, made and put together. */
import { effect } from '@preact/signals'
import { render } from 'preact'
import { createAnswers, type Answers } from './answers/index.ts'
import {
  awaitInstallOffer,
  Connection,
  followCurrency,
  Frame,
  frameShortcuts,
  matchRoute,
  PageUpdate,
  Preferences,
  Router,
  Shell,
  Shortcuts,
  StoreFailed,
  type App,
  type Finding,
} from './app/index.ts'
import { ChatList, createChats, loadExport, type Chats, type ChatsInit } from './chats/index.ts'
import { loadMarkdown } from './markdown/index.ts'
import {
  isVisible,
  onOnlineChange,
  onVisibility,
  smallStore,
  systemClock,
  systemRandom,
  tabChannel,
  tabLocks,
} from './platform/index.ts'
import { filesOf, NAVIGATION, overlayOf, routesOf, type Parts } from './routes.tsx'
import { openChatStore, type LocalStore } from './store/index.ts'

const clock = systemClock
const root = document.getElementById('app')!
/** As in the styles of the frame: below it the sidebar is a drawer. */
const NARROW = '(max-width: 820px)'
const FOUND_MAX = 8

async function start(): Promise<void> {
  awaitInstallOffer(globalThis)
  const preferences = new Preferences(smallStore, document.documentElement)
  // all at once: none needs another. A chat is not shown before its text can be, or it would jump; a new one has none yet
  const isChat = openChatOf(location.pathname) !== undefined
  const [store] = await Promise.all([
    openChatStore().catch(() => undefined),
    preferences.start(navigator.languages),
    isChat && loadMarkdown(),
  ])
  if (store === undefined) return render(<StoreFailed />, root)
  const connection = new Connection({ origin: location.origin, clock, random: systemRandom, kept: smallStore })
  const answers = createAnswers({
    skein: () => connection.skein,
    store,
    clock,
    random: systemRandom.unit,
    locks: tabLocks(),
    channel: tabChannel('skein-answers'),
  })
  const router = new Router(globalThis as unknown as Window, (path) => matchRoute(app.routes, path) !== undefined)
  const saveChat: ChatsInit['saveChat'] = async (...asked) => (await loadExport()).saveChat(store, ...asked)
  const chats = createChats({ store, answers, gateway: connection, go: router.go, saveChat })
  const sync = syncOf(store, connection)
  const app = appOf({ preferences, connection, router, chats, store, sync })
  render(<Shell app={app} />, root)
  wire(app, answers, chats)
  // what was changed on other devices may come after what is here
  void sync()
}

type Made = Pick<App, 'preferences' | 'connection' | 'router'> & Omit<Parts, 'app'>

function appOf({ preferences, connection, router, chats, store, sync }: Made): App {
  const app: App = {
    ...{ clock, kept: smallStore, connection, router, preferences },
    shortcuts: new Shortcuts(),
    update: new PageUpdate(clock, (navigator as Partial<Navigator>).serviceWorker, () => location.reload()),
    routes: routesOf({ app: () => app, chats, store, sync }),
    navigation: NAVIGATION,
    frame: new Frame(smallStore, matchMedia(NARROW)),
    sidebar: (close) => <ChatList chats={chats} chatId={openChatOf(router.place.value.path)} onOpen={close} />,
    overlay: () => overlayOf(() => app, chats),
    settings: filesOf({ sync, store }),
    find: (query) => findChats(chats, query),
  }
  return app
}

/** Loaded when it is wanted first, and once. */
function syncOf(store: LocalStore, connection: Connection): Parts['sync'] {
  let loading: ReturnType<Parts['sync']> | undefined
  const load = async (): ReturnType<Parts['sync']> => {
    const module = await import('./sync/index.ts')
    const request = module.syncRequest((...ask) => connection.request(...ask))
    const sync = module.createSync({ store, request, origin: connection.origin })
    sync.start()
    return { sync, module }
  }
  return () => (loading ??= load())
}

const openChatOf = (path: string): string | undefined => /^\/chat\/([^/]+)$/.exec(path)?.[1]

async function findChats(chats: Chats, query: string): Promise<Finding[]> {
  if (query === '') return []
  const hits = await chats.find(query, FOUND_MAX)
  return hits.map(({ chatId, messageId, title, snippet }, index) => ({
    ...{ id: `chat-${index}`, icon: 'chat', label: title, detail: snippet },
    run: () => chats.openChat(chatId, messageId),
  }))
}

/** What happens to the page from outside is told to its parts. */
function wire(app: App, answers: Answers, chats: Chats): void {
  const { connection, router, shortcuts, update } = app
  shortcuts.add(...frameShortcuts(app), ...chats.shortcuts)
  shortcuts.listen(document)
  router.takeClicks(document)
  onVisibility((isShown) => {
    connection.setVisible(isShown)
    if (isShown) answers.poke()
  })
  onOnlineChange((isOnline) => {
    void connection.look()
    if (isOnline) answers.poke()
  })
  effect(() => void (connection.state.value === 'online' && answers.poke()))
  followCurrency(connection, smallStore)
  connection.setVisible(isVisible())
  connection.start()
  // before the first answer comes
  void loadMarkdown()
  void answers.resumeAll()
  void update.start()
}

void start()
