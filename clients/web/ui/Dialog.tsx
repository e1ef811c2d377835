import type { ComponentChildren } from 'preact'
import { useEffect, useId, useLayoutEffect, useRef, useState } from 'preact/hooks'
import { Button, IconButton } from './Button.tsx'
import { Copyable } from './Copyable.tsx'
import { uiLabels } from './labels.ts'

export interface DialogProps {
  readonly title: string
  /** Esc, the cross, or a press beside it. Take the dialog out of the tree then. */
  readonly onClose: () => void
  readonly children: ComponentChildren
  /** Buttons at the foot, the one that does it last. */
  readonly actions?: ComponentChildren
  /** 480 px wide when absent; `l` is 720, `s` 380. */
  readonly size?: 's' | 'm' | 'l'
  /** At the side instead of the middle, as settings of what is seen beside it. */
  readonly isDrawer?: boolean
  /** Such as `alertdialog`, for what cannot be undone. */
  readonly role?: 'dialog' | 'alertdialog'
}

/**
 * Over the page, which cannot be reached while it is there. The focus goes to the first element with `autofocus`, or to the
 * dialog itself, and back to where it was in the end.
 */
export function Dialog({ title, onClose, children, actions, size = 'm', isDrawer = false, role }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null)
  const id = useId()
  useModal(ref)
  return (
    <dialog
      ref={ref}
      class={`ui-dialog ui-dialog-${size}${isDrawer ? ' ui-dialog-drawer' : ''}`}
      role={role}
      tabIndex={-1}
      aria-modal="true"
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault()
        onClose()
      }}
      onPointerDown={(event) => event.target === event.currentTarget && isOutside(event) && onClose()}
    >
      <div class="ui-dialog-head">
        <h2 id={id}>{title}</h2>
        <IconButton icon="close" label={uiLabels.value.close} onClick={onClose} />
      </div>
      <div class="ui-dialog-body">{children}</div>
      {actions !== undefined && <div class="ui-dialog-actions">{actions}</div>}
    </dialog>
  )
}

/** Shows `ref` over everything while it is in the tree. */
export function useModal(ref: { readonly current: HTMLDialogElement | null }): void {
  useLayoutEffect(() => {
    const dialog = ref.current!
    const before = document.activeElement
    dialog.showModal()
    // the browser would choose the first button, which is the cross
    ;(dialog.querySelector<HTMLElement>('[autofocus]') ?? dialog).focus()
    return () => {
      dialog.close()
      if (before instanceof HTMLElement && before.isConnected) before.focus({ preventScroll: true })
    }
  }, [])
}

/** A press on the backdrop is one on the dialog, at a place outside of it. */
function isOutside({ clientX, clientY, currentTarget }: PointerEvent & { currentTarget: HTMLElement }): boolean {
  const { left, right, top, bottom } = currentTarget.getBoundingClientRect()
  return clientX < left || clientX > right || clientY < top || clientY > bottom
}

export interface ConfirmProps {
  readonly title: string
  readonly children?: ComponentChildren
  /** What the button does, as a verb: `Delete`, `Drain`. */
  readonly confirmLabel: string
  readonly isDanger?: boolean
  /** The same on the command line, such as `skein node drain desk-pc`. */
  readonly command?: string
  /** The dialog stays, busy, until it is done; what it throws is shown. */
  readonly onConfirm: () => void | Promise<void>
  readonly onClose: () => void
}

/** Asks before something is done. */
export function Confirm(props: ConfirmProps) {
  const { title, children, confirmLabel, isDanger = false, command, onConfirm, onClose } = props
  const [isBusy, setBusy] = useState(false)
  const [error, setError] = useState<string>()
  const isThere = useRef(true)
  useEffect(() => () => void (isThere.current = false), [])
  const confirm = async (): Promise<void> => {
    setBusy(true)
    setError(undefined)
    try {
      await onConfirm()
      onClose()
    } catch (thrown) {
      if (isThere.current) setError(thrown instanceof Error ? thrown.message : String(thrown))
    } finally {
      if (isThere.current) setBusy(false)
    }
  }
  const actions = (
    <>
      <Button onClick={onClose} autofocus={isDanger}>
        {uiLabels.value.cancel}
      </Button>
      <Button
        kind={isDanger ? 'danger' : 'primary'}
        isBusy={isBusy}
        autofocus={!isDanger}
        onClick={() => void confirm()}
      >
        {confirmLabel}
      </Button>
    </>
  )
  return (
    <Dialog title={title} onClose={onClose} actions={actions} size="s" role="alertdialog">
      {children}
      {command !== undefined && <Copyable text={command} isCommand />}
      {error !== undefined && (
        <div class="ui-field-error" role="alert">
          {error}
        </div>
      )}
    </Dialog>
  )
}
