/**
 * What the page takes of its browser, as ports: time, chance, tabs, storage, files. The one place of `Date.now`,
 * `setTimeout` and `crypto`.
 */
export { systemClock, type WebClock } from './clock.ts'
export { mintId, systemRandom, type WebRandom } from './ids.ts'
export { copyText, isOnline, isVisible, onLeaving, onOnlineChange, onVisibility, pickFiles, saveFile } from './page.ts'
export { askDurable, smallStore, storageHealth, type SmallStore, type StorageHealth } from './storage.ts'
export { tabChannel, tabLocks, type TabChannel, type TabLocks } from './tabs.ts'
