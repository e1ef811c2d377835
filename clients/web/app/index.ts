/** The frame around all pages: addresses, the connection, keys, the palette, settings. */
import './app.css'

export { Frame, type App, type AppInit, type AppPage, type Finding, type NavigationEntry, type Params } from './app.ts'
export { Connection, type ConnectionState, type Gateway } from './connection.ts'
export { type EventSource, type MeshEventView } from './events.ts'
export { frameShortcuts } from './frame-shortcuts.ts'
export { awaitInstallOffer } from './install.ts'
export { Lazy, StoreFailed, type LazyProps } from './Lazy.tsx'
export { Preferences } from './preferences.ts'
export { matchRoute, Router, type Route } from './router.ts'
export { SettingsPage, Shell } from './Shell.tsx'
export { Shortcuts, type Shortcut } from './shortcuts.ts'
export { PageUpdate } from './update.ts'
