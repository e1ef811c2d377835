import { useEffect, useId, useMemo, useRef, useState } from 'preact/hooks'
import { Icon, useModal } from '../ui/index.ts'
import { LANGUAGE_NAMES, LANGUAGES, words } from '../words/index.ts'
import type { App, Finding } from './app.ts'
import { THEMES, themeText } from './preferences.ts'

const FIND_AFTER_MS = 120
const CHATS_MAX = 8

interface Group {
  readonly name: string
  readonly findings: readonly Finding[]
}

/** Goes anywhere and does anything, by a few letters of its name. */
export function Palette({ app }: { readonly app: App }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const id = useId()
  const [query, setQuery] = useState('')
  const [at, setAt] = useState(0)
  const chats = useChats(app, query)
  const { app: say } = words.value
  const fixed = useMemo(() => fixedGroups(app), [words.value])
  const groups: readonly Group[] = [
    ...fixed.map((group) => narrow(group, query)),
    { name: say.paletteChats, findings: chats },
  ]
  const shown = groups.filter(({ findings }) => findings.length > 0)
  const all = shown.flatMap(({ findings }) => findings)
  const current = all[Math.min(at, all.length - 1)]
  useModal(dialog)
  const close = (): void => void (app.frame.opened.value = undefined)
  const run = (finding: Finding | undefined): void => {
    if (finding === undefined) return
    close()
    finding.run()
  }
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.isComposing) return
    const index = all.indexOf(current!)
    if (event.key === 'ArrowDown') setAt((index + 1) % Math.max(1, all.length))
    else if (event.key === 'ArrowUp') setAt((index - 1 + all.length) % Math.max(1, all.length))
    else if (event.key === 'Enter') run(current)
    else return
    event.preventDefault()
  }
  return (
    <dialog
      ref={dialog}
      class="app-palette"
      aria-label={say.palette}
      onCancel={(event) => {
        event.preventDefault()
        close()
      }}
      onPointerDown={(event) => event.target === dialog.current && close()}
    >
      <div class="app-palette-box">
        <PaletteInput
          {...{ id, query, onKeyDown }}
          current={current}
          onInput={(text) => {
            setQuery(text)
            setAt(0)
          }}
        />
        <PaletteList {...{ id, groups: shown, current, run }} />
        {all.length === 0 && (
          <p class="app-palette-empty" role="status">
            {say.paletteEmpty}
          </p>
        )}
      </div>
    </dialog>
  )
}

interface PaletteInputProps {
  /** Of the list. */
  readonly id: string
  readonly query: string
  readonly current: Finding | undefined
  readonly onInput: (query: string) => void
  readonly onKeyDown: (event: KeyboardEvent) => void
}

function PaletteInput({ id, query, current, onInput, onKeyDown }: PaletteInputProps) {
  const { app: say } = words.value
  return (
    <div class="app-palette-input">
      <Icon name="search" />
      <input
        autofocus
        type="text"
        role="combobox"
        aria-label={say.palettePlaceholder}
        aria-expanded="true"
        aria-controls={id}
        aria-activedescendant={current && `${id}-${current.id}`}
        autoComplete="off"
        spellcheck={false}
        placeholder={say.palettePlaceholder}
        value={query}
        onInput={(event) => onInput(event.currentTarget.value)}
        onKeyDown={onKeyDown}
      />
    </div>
  )
}

interface PaletteListProps {
  readonly id: string
  readonly groups: readonly Group[]
  readonly current: Finding | undefined
  readonly run: (finding: Finding) => void
}

function PaletteList({ id, groups, current, run }: PaletteListProps) {
  const list = useRef<HTMLDivElement>(null)
  useEffect(
    () => list.current?.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' }),
    [current?.id],
  )
  return (
    <div ref={list} id={id} class="app-palette-list" role="listbox" aria-label={words.value.app.palette}>
      {groups.map((group) => (
        <div key={group.name} role="group" aria-label={group.name}>
          <div class="app-palette-heading" aria-hidden="true">
            {group.name}
          </div>
          {group.findings.map((finding) => (
            <Row key={finding.id} {...{ finding, run }} id={`${id}-${finding.id}`} isCurrent={finding === current} />
          ))}
        </div>
      ))}
    </div>
  )
}

interface RowProps {
  readonly finding: Finding
  readonly id: string
  readonly isCurrent: boolean
  readonly run: (finding: Finding) => void
}

function Row({ finding, id, isCurrent, run }: RowProps) {
  const { label, detail, icon, keys } = finding
  return (
    <div id={id} class="app-palette-row" role="option" aria-selected={isCurrent} onClick={() => run(finding)}>
      <Icon name={icon} size={16} />
      <span class="app-palette-label">
        {label}
        {detail !== undefined && <span class="app-palette-detail">{detail}</span>}
      </span>
      {keys !== undefined && <kbd class="ui-keys">{keys}</kbd>}
    </div>
  )
}

/** Chats that `query` finds, a moment after it was typed. */
function useChats(app: App, query: string): readonly Finding[] {
  const [found, setFound] = useState<readonly Finding[]>([])
  useEffect(() => {
    let isCurrent = true
    const cancel = app.clock.after(query === '' ? 0 : FIND_AFTER_MS, () => {
      app.find?.(query.trim()).then(
        (findings) => isCurrent && setFound(findings.slice(0, CHATS_MAX)),
        () => isCurrent && setFound([]),
      )
    })
    return () => {
      isCurrent = false
      cancel()
    }
  }, [query])
  return found
}

function fixedGroups(app: App): Group[] {
  const { app: say } = words.peek()
  const { router, preferences, shortcuts } = app
  const pages = [...app.navigation, settingsEntry()].map(({ href, icon, label }): Finding => ({
    id: `page-${href}`,
    label: label(),
    icon,
    run: () => router.go(href),
  }))
  const keyed = shortcuts.all
    .peek()
    .filter(
      (shortcut) =>
        shortcut.isShownOnly !== true &&
        shortcut.keys.includes('+') &&
        shortcut.keys !== 'Ctrl+K' &&
        (shortcut.when?.() ?? true),
    )
    .map(({ keys, label, run }): Finding => ({ id: `key-${keys}`, label: label(), icon: 'bolt', keys, run }))
  const themes = THEMES.map((theme): Finding => {
    const label = say.commandTheme(themeText(theme))
    return {
      id: `theme-${theme}`,
      label,
      icon: theme === 'dark' ? 'moon' : 'sun',
      run: () => preferences.setTheme(theme),
    }
  })
  const languages = LANGUAGES.map((name): Finding => {
    const label = say.commandLanguage(LANGUAGE_NAMES[name])
    return { id: `language-${name}`, label, icon: 'chat', run: () => void preferences.setLanguage(name) }
  })
  return [
    { name: say.palettePages, findings: pages },
    { name: say.paletteCommands, findings: [...keyed, ...themes, ...languages] },
  ]
}

const settingsEntry = () =>
  ({ href: '/settings', icon: 'gear', label: () => words.peek().app.pageNames.settings }) as const

/** Letters without accents and in one case, as people type them. */
const plain = (text: string): string => text.normalize('NFD').replace(/\p{M}/gu, '').toLocaleLowerCase()

function narrow(group: Group, query: string): Group {
  const wanted = plain(query).split(/\s+/).filter(Boolean)
  // without a word: the pages alone, as commands are many
  const fits = ({ label }: Finding): boolean => wanted.every((word) => plain(label).includes(word))
  return { name: group.name, findings: group.findings.filter(fits) }
}
