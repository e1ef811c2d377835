/** The pages of chats: the list with its search, and a conversation. */
export { ChatList, type ChatListProps } from './ChatList.tsx'
export { ChatPage, type ChatPageProps } from './ChatPage.tsx'
export { createChats, type Chats, type ChatsInit, type Shortcut } from './chats.ts'
/** What makes a chat a file is loaded when it is wanted first. */
export const loadExport = () => import('./export-chat.ts')
export type { ChatsPorts, GatewayPort } from './ports.ts'
