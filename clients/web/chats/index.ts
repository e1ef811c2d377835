/** The pages of chats: the list with its search, and a conversation. */
export { ChatList, type ChatListProps } from './ChatList.tsx'
export { ChatPage, type ChatPageProps } from './ChatPage.tsx'
export { createChats, type Chats, type ChatsInit, type Shortcut } from './chats.ts'
export type { ChatsPorts, GatewayPort } from './ports.ts'
