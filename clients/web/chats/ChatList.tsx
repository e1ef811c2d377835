import { useComputed, useSignal } from '@preact/signals'
import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { Icon, IconButton, Menu, Skeleton } from '../ui/index.ts'
import { words } from '../words/index.ts'
import { chatMenu, removeChat, type ChatDialog } from './chat-menu.ts'
import type { Chats } from './chats.ts'
import { ChatDialogs } from './dialogs.tsx'
import type { Heading, Row } from './groups.ts'
import type { ListedChat } from './library.ts'
import { SearchBox, SearchHits } from './Search.tsx'
import { rowsOf, scrollTo, sliceOf } from './virtual.ts'
import './list.css'

export interface ChatListProps {
  readonly chats: Chats
  /** The one that is looked at. */
  readonly chatId?: string | undefined
  /** Told when something was chosen: a drawer closes then. */
  readonly onOpen?: (() => void) | undefined
}

/** All chats: a new one, the search, and the list, of which only what is in view is drawn. */
export function ChatList({ chats, chatId, onOpen }: ChatListProps) {
  const { chats: say } = words.value
  const isSearching = chats.library.search.value !== undefined
  return (
    <section class="chats-side" aria-label={say.chats}>
      <div class="chats-side-top">
        <button
          type="button"
          class="chats-new"
          onClick={() => {
            chats.newChat()
            onOpen?.()
          }}
        >
          <Icon name="plus" size={16} />
          {say.newChat}
        </button>
        <SearchBox chats={chats} />
      </div>
      {isSearching ? <SearchHits chats={chats} onOpen={onOpen} /> : <Rows {...{ chats, chatId, onOpen }} />}
    </section>
  )
}

/** Heights of rows, in px: a finger needs more than a pointer. */
const heightsOf = (isCoarse: boolean) => ({ heading: isCoarse ? 36 : 32, chat: isCoarse ? 44 : 34 })
const BEYOND = 12

function Rows({ chats, chatId, onOpen }: ChatListProps) {
  const view = useRef<HTMLDivElement>(null)
  const top = useSignal(0)
  const viewPx = useSignal(800)
  const heights = useMemo(() => heightsOf(matchMedia('(pointer: coarse)').matches), [])
  const layout = useComputed(() => rowsOf(chats.library.rows.value.map(({ type }) => heights[type])))
  const slice = useComputed(() => sliceOf(layout.value, top.value, viewPx.value, BEYOND))
  const focused = useFocused(chats, view, layout, viewPx, chatId)
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => {
      viewPx.value = entry!.contentRect.height
    })
    observer.observe(view.current!)
    return () => observer.disconnect()
  }, [])
  const { chats: say } = words.value
  const rows = chats.library.rows.value
  const { from, to } = slice.value
  const isKnown = chats.library.chats.value !== undefined
  return (
    <div
      class="chats-scroll"
      ref={view}
      onScroll={(event) => {
        top.value = event.currentTarget.scrollTop
      }}
    >
      {!isKnown && <Skeleton lines={5} />}
      {isKnown && rows.length === 0 && <p class="chats-side-note">{say.noChats}</p>}
      <ul
        class="chats-list"
        role="list"
        style={{ height: `${layout.value.heightPx}px` }}
        onKeyDown={focused.onKeyDown}
        onFocusIn={focused.onFocusIn}
      >
        {rows.slice(from, to).map((row, offset) => {
          const index = from + offset
          const place = { top: `${layout.value.tops[index]}px`, height: `${heights[row.type]}px` }
          return (
            <li key={row.key} style={place} data-row={index} aria-setsize={rows.length} aria-posinset={index + 1}>
              {row.type === 'heading' ? (
                <HeadingRow chats={chats} heading={row.heading} isStop={focused.key === row.key} />
              ) : (
                <ChatRow
                  chats={chats}
                  chat={row.chat}
                  isOpen={row.chat.id === chatId}
                  isStop={focused.key === row.key}
                  onOpen={onOpen}
                />
              )}
            </li>
          )
        })}
      </ul>
    </div>
  )
}

type Signal<T> = { readonly value: T; peek(): T }

/** One stop of the Tab key for the whole list; arrows go through it. */
function useFocused(
  chats: Chats,
  view: { readonly current: HTMLDivElement | null },
  layout: Signal<ReturnType<typeof rowsOf>>,
  viewPx: Signal<number>,
  chatId: string | undefined,
) {
  const [at, setAt] = useState<string>()
  const rows = chats.library.rows.value
  const isStop = (row: Row<ListedChat>): boolean => row.type === 'chat' || row.heading.kind === 'folder'
  const known = rows.find((row) => row.key === at) ?? rows.find((row) => row.key === chatId) ?? rows.find(isStop)
  const move = (index: number): void => {
    const scroller = view.current!
    scroller.scrollTop = scrollTo(layout.peek(), index, scroller.scrollTop, viewPx.peek())
    setAt(rows[index]!.key)
    // drawn by then
    chats.ports.clock.after(0, () =>
      scroller.querySelector<HTMLElement>(`[data-row="${index}"] [data-stop]`)?.focus({ preventScroll: true }),
    )
  }
  return {
    key: known?.key,
    onFocusIn: (event: FocusEvent): void => {
      const index = (event.target as Element).closest('[data-row]')?.getAttribute('data-row')
      const row = index === null || index === undefined ? undefined : rows[Number(index)]
      if (row) setAt(row.key)
    },
    onKeyDown: (event: KeyboardEvent): void => {
      const from = rows.findIndex((row) => row.key === known?.key)
      const next = nextStop(rows, from, event.key, isStop)
      if (next === undefined) return
      event.preventDefault()
      move(next)
    },
  }
}

function nextStop<T>(rows: readonly T[], from: number, key: string, isStop: (row: T) => boolean): number | undefined {
  const find = (order: readonly number[]): number | undefined => order.find((index) => isStop(rows[index]!))
  const indices = rows.map((_, index) => index)
  if (key === 'ArrowDown') return find(indices.slice(from + 1))
  if (key === 'ArrowUp') return find(indices.slice(0, Math.max(0, from)).reverse())
  if (key === 'Home') return find(indices)
  return key === 'End' ? find(indices.toReversed()) : undefined
}

function HeadingRow({
  chats,
  heading,
  isStop,
}: {
  readonly chats: Chats
  readonly heading: Heading
  readonly isStop: boolean
}) {
  const { chats: say } = words.value
  if (heading.kind !== 'folder')
    return (
      <div class="chats-heading">
        <span class="chats-heading-name">{heading.kind === 'pinned' ? say.pinned : say[heading.age]}</span>
      </div>
    )
  const { name, count, isOpen } = heading
  return (
    <button
      type="button"
      class="chats-heading"
      data-stop
      tabIndex={isStop ? 0 : -1}
      aria-expanded={isOpen}
      aria-label={say.folder(name, count)}
      onClick={() => chats.library.toggleFolder(name)}
    >
      <Icon name={isOpen ? 'chevronDown' : 'chevronRight'} size={13} />
      <Icon name="folder" size={13} />
      <span class="chats-heading-name">{name}</span>
      {!isOpen && <span>{count}</span>}
    </button>
  )
}

interface ChatRowProps {
  readonly chats: Chats
  readonly chat: ListedChat
  readonly isOpen: boolean
  readonly isStop: boolean
  readonly onOpen: (() => void) | undefined
}

function ChatRow({ chats, chat, isOpen, isStop, onOpen }: ChatRowProps) {
  const [dialog, setDialog] = useState<ChatDialog>()
  const { chats: say } = words.value
  const title = chat.title === '' ? say.untitled : chat.title
  return (
    <div class={isOpen ? 'chats-row chats-is-open' : 'chats-row'}>
      <a
        class="chats-link"
        href={`/chat/${chat.id}`}
        data-stop
        tabIndex={isStop ? 0 : -1}
        aria-current={isOpen ? 'page' : undefined}
        title={title}
        onClick={onOpen}
        onKeyDown={(event) => {
          if (event.key === 'F2') setDialog('rename')
          else if (event.key === 'Delete') removeChat(chats, chat)
          else return
          event.preventDefault()
        }}
      >
        <span class="chats-link-title">{title}</span>
        {chat.isAnswering && <span class="chats-pulse" role="img" aria-label={say.isAnswering} />}
      </a>
      <span class="chats-row-more">
        <Menu
          label={say.more(title)}
          items={chatMenu(chats, chat, setDialog)}
          trigger={(trigger) => (
            <IconButton icon="more" size="s" label={say.more(title)} tabIndex={isStop ? 0 : -1} {...trigger} />
          )}
        />
      </span>
      <ChatDialogs chats={chats} chat={chat} dialog={dialog} onClose={() => setDialog(undefined)} />
    </div>
  )
}
