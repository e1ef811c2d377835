import type { ComponentChildren, VNode } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { Icon } from './Icon.tsx'
import type { IconName } from './icons.ts'

export interface MenuAction {
  readonly label: string
  readonly onSelect: () => void
  readonly icon?: IconName
  /** Below the label, in small. */
  readonly detail?: ComponentChildren
  /** Of the keyboard, such as `Ctrl+C`. */
  readonly keys?: string
  readonly isDanger?: boolean
  readonly isDisabled?: boolean
  /** For one of several that are chosen from. */
  readonly isChecked?: boolean
}

export type MenuItem = MenuAction | { readonly heading: string } | 'separator'

export interface MenuTrigger {
  readonly onClick: () => void
  readonly onKeyDown: (event: KeyboardEvent) => void
  readonly buttonRef: { current: HTMLButtonElement | null }
  readonly 'aria-haspopup': 'menu'
  readonly 'aria-expanded': boolean
  readonly 'aria-controls': string | undefined
}

export interface MenuProps {
  /** What the menu is of, for readers of screens. */
  readonly label: string
  readonly items: readonly MenuItem[]
  /** The button: give it the properties, such as `(props) => <IconButton icon="more" label="More" {...props} />`. */
  readonly trigger: (props: MenuTrigger) => VNode
}

const isAction = (item: MenuItem): item is MenuAction => typeof item !== 'string' && 'onSelect' in item

/** A list of things to do, from a button. Arrows, Home, End and first letters move; Esc and Tab close. */
export function Menu({ label, items, trigger }: MenuProps) {
  const button = useRef<HTMLButtonElement>(null)
  const id = useId()
  const [opened, setOpened] = useState<'first' | 'last'>()
  const close = (): void => {
    setOpened(undefined)
    button.current?.focus()
  }
  return (
    <>
      {trigger({
        buttonRef: button,
        onClick: () => setOpened(opened === undefined ? 'first' : undefined),
        onKeyDown(event) {
          if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return
          event.preventDefault()
          setOpened(event.key === 'ArrowDown' ? 'first' : 'last')
        },
        'aria-haspopup': 'menu',
        'aria-expanded': opened !== undefined,
        'aria-controls': opened === undefined ? undefined : id,
      })}
      {opened !== undefined && (
        <MenuList
          {...{ id, label, items, close }}
          anchor={button.current!}
          from={opened}
          leave={() => setOpened(undefined)}
        />
      )}
    </>
  )
}

interface MenuListProps {
  readonly id: string
  readonly label: string
  readonly items: readonly MenuItem[]
  readonly anchor: HTMLElement
  readonly from: 'first' | 'last'
  /** With the focus back on the button. */
  readonly close: () => void
  readonly leave: () => void
}

function MenuList({ id, label, items, anchor, from, close, leave }: MenuListProps) {
  const ref = useRef<HTMLDivElement>(null)
  useEffect(() => {
    const list = ref.current!
    list.showPopover()
    place(list, anchor)
    const entries = entriesOf(list)
    const chosen = entries.find((entry) => entry.getAttribute('aria-checked') === 'true')
    ;(from === 'last' ? entries.at(-1) : (chosen ?? entries[0]))?.focus()
    const onPress = (event: Event): void => {
      const target = event.target as Node
      if (!list.contains(target) && !anchor.contains(target)) leave()
    }
    document.addEventListener('pointerdown', onPress, true)
    globalThis.addEventListener('resize', leave)
    return () => {
      document.removeEventListener('pointerdown', onPress, true)
      globalThis.removeEventListener('resize', leave)
    }
  }, [])
  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.key === 'Escape' || event.key === 'Tab') {
      event.preventDefault()
      event.stopPropagation()
      close()
      return
    }
    if (moveFocus(entriesOf(ref.current!), event.key)) event.preventDefault()
  }
  return (
    <div ref={ref} id={id} class="ui-menu" role="menu" aria-label={label} popover="manual" onKeyDown={onKeyDown}>
      {items.map((item, index) => (
        <MenuRow key={index} item={item} close={close} />
      ))}
    </div>
  )
}

function MenuRow({ item, close }: { readonly item: MenuItem; readonly close: () => void }) {
  if (item === 'separator') return <div class="ui-menu-separator" role="separator" />
  if (!isAction(item))
    return (
      <div class="ui-menu-heading" role="presentation">
        {item.heading}
      </div>
    )
  const { label, onSelect, icon, detail, keys, isDanger = false, isDisabled = false, isChecked } = item
  return (
    <button
      type="button"
      class={isDanger ? 'ui-menu-item ui-menu-danger' : 'ui-menu-item'}
      role={isChecked === undefined ? 'menuitem' : 'menuitemradio'}
      aria-checked={isChecked}
      aria-disabled={isDisabled}
      tabIndex={-1}
      onPointerMove={(event) => event.currentTarget.focus({ preventScroll: true })}
      onClick={() => {
        if (isDisabled) return
        close()
        onSelect()
      }}
    >
      {isChecked !== undefined ? (
        <Icon name="check" size={16} class={isChecked ? '' : 'ui-menu-unchecked'} />
      ) : (
        icon !== undefined && <Icon name={icon} size={16} />
      )}
      <span class="ui-menu-label">
        {label}
        {detail !== undefined && <span class="ui-menu-detail">{detail}</span>}
      </span>
      {keys !== undefined && <kbd class="ui-keys">{keys}</kbd>}
    </button>
  )
}

const entriesOf = (list: HTMLElement): HTMLElement[] => [...list.querySelectorAll<HTMLElement>('.ui-menu-item')]

/** Moves the focus among `entries` as `key` says, round the ends. @returns whether the key was one of these. */
export function moveFocus(entries: readonly HTMLElement[], key: string): boolean {
  const at = entries.indexOf(document.activeElement as HTMLElement)
  const next = nextIndex(entries, at, key)
  if (next === undefined) return false
  entries[next]?.focus()
  return true
}

function nextIndex(entries: readonly HTMLElement[], at: number, key: string): number | undefined {
  const count = entries.length
  if (count === 0) return undefined
  if (key === 'ArrowDown') return (at + 1) % count
  if (key === 'ArrowUp') return (at - 1 + count) % count
  if (key === 'Home') return 0
  if (key === 'End') return count - 1
  if (key.length !== 1 || key === ' ') return undefined
  const letter = key.toLocaleLowerCase()
  const order = entries.map((_, i) => (at + 1 + i) % count)
  return order.find((i) => entries[i]!.textContent.trim().toLocaleLowerCase().startsWith(letter))
}

const GAP_PX = 4
const EDGE_PX = 8

/** Below the button, or above where there is no room; within the window. */
function place(list: HTMLElement, anchor: HTMLElement): void {
  const at = anchor.getBoundingClientRect()
  const { width, height } = list.getBoundingClientRect()
  const startsRight = at.left + width + EDGE_PX > innerWidth
  const left = Math.max(EDGE_PX, startsRight ? at.right - width : at.left)
  const isBelow = at.bottom + GAP_PX + height + EDGE_PX <= innerHeight || at.top < innerHeight - at.bottom
  const room = (isBelow ? innerHeight - at.bottom : at.top) - GAP_PX - EDGE_PX
  list.style.setProperty('max-height', `${room}px`)
  list.style.setProperty('left', `${left}px`)
  list.style.setProperty('top', `${isBelow ? at.bottom + GAP_PX : Math.max(EDGE_PX, at.top - GAP_PX - height)}px`)
}
