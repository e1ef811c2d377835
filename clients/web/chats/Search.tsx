import { useEffect, useRef } from 'preact/hooks'
import type { SearchHit } from '../store/index.ts'
import { Icon, IconButton, moveFocus } from '../ui/index.ts'
import { words } from '../words/index.ts'
import type { Chats } from './chats.ts'
import { HITS_MAX } from './library.ts'
import { markedPieces } from './marked.ts'

/** Looks through titles and everything that was said. */
export function SearchBox({ chats }: { readonly chats: Chats }) {
  const input = useRef<HTMLInputElement>(null)
  const { chats: say } = words.value
  const query = chats.library.search.value?.query ?? ''
  const wanted = chats.searchWanted.value
  const seen = useRef(wanted)
  useEffect(() => {
    if (wanted !== seen.current) input.current?.focus()
    seen.current = wanted
  }, [wanted])
  const clear = (): void => {
    chats.library.find('')
    input.current?.focus()
  }
  return (
    <div class="chats-search" role="search">
      <Icon name="search" size={15} />
      <input
        ref={input}
        type="search"
        class="chats-search-input"
        aria-label={say.search}
        placeholder={say.search}
        value={query}
        onInput={(event) => chats.library.find(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key === 'Escape' && query !== '') {
            event.stopPropagation()
            clear()
          } else if (event.key === 'ArrowDown') {
            event.preventDefault()
            document.querySelector<HTMLElement>('.chats-hit, .chats-list [tabindex="0"]')?.focus()
          }
        }}
      />
      {query !== '' && (
        <span class="chats-search-clear">
          <IconButton icon="close" size="s" label={say.clearSearch} onClick={clear} />
        </span>
      )}
    </div>
  )
}

export interface SearchHitsProps {
  readonly chats: Chats
  readonly onOpen: (() => void) | undefined
}

/** What was found, each with a piece of the text around it. */
export function SearchHits({ chats, onOpen }: SearchHitsProps) {
  const { chats: say } = words.value
  const search = chats.library.search.value
  const hits = search?.hits
  return (
    <div class="chats-scroll">
      <p class="chats-side-note" role="status">
        {hits === undefined
          ? say.searching
          : hits.length === 0
            ? say.nothingFound
            : say.found(hits.length, hits.length < HITS_MAX)}
      </p>
      <ul
        class="chats-hits"
        role="list"
        onKeyDown={(event) => {
          if (event.key.length === 1) return
          const entries = [...event.currentTarget.querySelectorAll<HTMLElement>('.chats-hit')]
          if (moveFocus(entries, event.key)) event.preventDefault()
        }}
      >
        {hits?.map((hit) => (
          <li key={`${hit.chatId} ${hit.messageId ?? ''}`}>
            <Hit chats={chats} hit={hit} onOpen={onOpen} />
          </li>
        ))}
      </ul>
    </div>
  )
}

function Hit({ chats, hit, onOpen }: SearchHitsProps & { readonly hit: SearchHit }) {
  const { chats: say } = words.value
  const { chatId, messageId, title, snippet, marks } = hit
  const isTitle = messageId === undefined
  return (
    <a
      class="chats-hit"
      href={`/chat/${chatId}`}
      onClick={(event) => {
        if (event.metaKey || event.ctrlKey || event.shiftKey) return
        event.preventDefault()
        event.stopPropagation()
        chats.openChat(chatId, messageId)
        onOpen?.()
      }}
    >
      <span class="chats-hit-title">
        {isTitle ? <Marked text={snippet} marks={marks} /> : title === '' ? say.untitled : title}
      </span>
      {!isTitle && (
        <span class="chats-hit-text">
          <Marked text={snippet} marks={marks} />
        </span>
      )}
    </a>
  )
}

function Marked({ text, marks }: { readonly text: string; readonly marks: SearchHit['marks'] }) {
  return (
    <>
      {markedPieces(text, marks).map(({ piece, isMarked }, index) =>
        isMarked ? <mark key={index}>{piece}</mark> : <span key={index}>{piece}</span>,
      )}
    </>
  )
}
