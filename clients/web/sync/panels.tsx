/** What a person sees of sync, and of the files of chats. Loaded when it is shown. */
import './sync.css'

export { FilesPanel } from './FilesPanel.tsx'
export { SyncPanel } from './SyncPanel.tsx'
