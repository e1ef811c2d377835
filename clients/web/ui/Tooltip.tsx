import { cloneElement, type VNode } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { systemClock } from '../platform/index.ts'

export interface TooltipProps {
  readonly text: string
  /** Of the keyboard, such as `Ctrl+K`. */
  readonly keys?: string | undefined
  /** One element that takes the focus. */
  readonly children: VNode
}

const DELAY_MS = 450
const GAP_PX = 6
const EDGE_PX = 8

/** A few words beside a control, once a pointer rests on it or the keyboard comes to it. Escape hides them. */
export function Tooltip({ text, keys, children }: TooltipProps) {
  const anchor = useRef<HTMLSpanElement>(null)
  const [isShown, setShown] = useState(false)
  const cancel = useRef(() => {})
  const show = (delayMs: number): void => {
    cancel.current()
    cancel.current = systemClock.after(delayMs, () => setShown(true))
  }
  const hide = (): void => {
    cancel.current()
    setShown(false)
  }
  useEffect(() => () => cancel.current(), [])
  return (
    <span
      ref={anchor}
      class="ui-tooltip-anchor"
      onPointerEnter={(event) => event.pointerType === 'mouse' && show(DELAY_MS)}
      onPointerLeave={hide}
      onPointerDown={hide}
      onFocusIn={(event) => (event.target as Element).matches(':focus-visible') && show(0)}
      onFocusOut={hide}
      onKeyDown={(event) => event.key === 'Escape' && hide()}
    >
      {cloneElement(children, {})}
      {isShown && <Bubble text={text} keys={keys} anchor={anchor.current!} />}
    </span>
  )
}

interface BubbleProps {
  readonly text: string
  readonly keys: string | undefined
  readonly anchor: HTMLElement
}

function Bubble({ text, keys, anchor }: BubbleProps) {
  const id = useId()
  const ref = useRef<HTMLSpanElement>(null)
  useEffect(() => {
    const bubble = ref.current!
    // in the top layer, so that neither a dialog nor a scrolled list covers or cuts it
    bubble.showPopover()
    const at = anchor.firstElementChild!.getBoundingClientRect()
    const { width, height } = bubble.getBoundingClientRect()
    const left = Math.min(Math.max(EDGE_PX, at.left + at.width / 2 - width / 2), innerWidth - width - EDGE_PX)
    const isBelow = at.bottom + GAP_PX + height + EDGE_PX < innerHeight
    bubble.style.setProperty('left', `${left}px`)
    bubble.style.setProperty('top', `${isBelow ? at.bottom + GAP_PX : at.top - GAP_PX - height}px`)
  }, [])
  return (
    // what it says is the name of the control already
    <span ref={ref} id={id} class="ui-tooltip" popover="manual" aria-hidden="true">
      {text}
      {keys !== undefined && <kbd class="ui-keys">{keys}</kbd>}
    </span>
  )
}
