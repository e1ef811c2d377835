/** Dialogs of a chat, each loaded when it is first opened. */
import type { ChatDialogsProps } from './ChatDialogs.tsx'
import { Later } from './Later.tsx'
import type { SettingsProps } from './Settings.tsx'
import type { WhyDialogProps } from './Why.tsx'

const loadWhy = () => import('./Why.tsx')
const loadSettings = () => import('./Settings.tsx')
const loadChatDialogs = () => import('./ChatDialogs.tsx')

export const WhyDialog = (props: WhyDialogProps) => (
  <Later load={loadWhy}>{(module) => <module.WhyDialog {...props} />}</Later>
)

export const SettingsDialog = (props: SettingsProps) => (
  <Later load={loadSettings}>{(module) => <module.SettingsDialog {...props} />}</Later>
)

export const ChatDialogs = (props: ChatDialogsProps) =>
  props.dialog === undefined ? null : (
    <Later load={loadChatDialogs}>{(module) => <module.ChatDialogs {...props} />}</Later>
  )
