import type { ButtonHTMLAttributes, ComponentChildren, Ref } from 'preact'
import { Icon } from './Icon.tsx'
import type { IconName } from './icons.ts'
import { uiLabels } from './labels.ts'
import { Tooltip } from './Tooltip.tsx'

export type ButtonKind = 'primary' | 'plain' | 'quiet' | 'danger'

type Attributes = Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'icon' | 'size' | 'label' | 'ref' | 'children'>

export interface ButtonProps extends Attributes {
  /** `plain` when absent: a border. `primary`: the one thing to do here. `quiet`: no border. */
  readonly kind?: ButtonKind
  readonly size?: 's' | 'm'
  readonly icon?: IconName
  /** Shows that it is at work, and takes no click. */
  readonly isBusy?: boolean
  /** As wide as its place. */
  readonly isWide?: boolean
  readonly children?: ComponentChildren
  readonly buttonRef?: Ref<HTMLButtonElement>
}

const classOf = (...names: (string | false | undefined)[]): string => names.filter(Boolean).join(' ')

export function Button(props: ButtonProps) {
  const { kind = 'plain', size = 'm', icon, isBusy = false, isWide = false, children, buttonRef, ...rest } = props
  const { class: className, disabled, ...others } = rest
  return (
    <button
      type="button"
      {...others}
      ref={buttonRef ?? null}
      class={classOf(
        'ui-button',
        `ui-button-${kind}`,
        `ui-button-${size}`,
        isWide && 'ui-button-wide',
        String(className ?? ''),
      )}
      disabled={disabled === true || isBusy}
      aria-busy={isBusy ? 'true' : undefined}
    >
      {isBusy ? <Spinner size={16} /> : icon !== undefined && <Icon name={icon} size={size === 's' ? 15 : 17} />}
      {children}
    </button>
  )
}

export interface IconButtonProps extends Omit<ButtonProps, 'children' | 'icon'> {
  readonly icon: IconName
  /** What it does: its name for readers of screens, and its tooltip. */
  readonly label: string
  /** Shown beside the label, such as `Ctrl+K`. */
  readonly keys?: string
  /** For a switch that is a button. */
  readonly isPressed?: boolean
}

/** A button that is an icon alone. */
export function IconButton(props: IconButtonProps) {
  const { icon, label, keys, kind = 'quiet', size = 'm', isPressed, isBusy = false, class: className, ...rest } = props
  return (
    <Tooltip text={label} keys={keys}>
      <Button
        {...rest}
        kind={kind}
        size={size}
        isBusy={isBusy}
        class={classOf('ui-button-icon', String(className ?? ''))}
        aria-label={label}
        aria-pressed={isPressed}
      >
        {!isBusy && <Icon name={icon} size={size === 's' ? 16 : 18} />}
      </Button>
    </Tooltip>
  )
}

/** Turns while something is awaited of which nobody knows how far it is. */
export function Spinner({ size = 18, label }: { readonly size?: number; readonly label?: string }) {
  return (
    <svg
      class="ui-spinner"
      viewBox="0 0 24 24"
      width={size}
      height={size}
      role={label === undefined ? undefined : 'img'}
      aria-label={label}
      aria-hidden={label === undefined ? 'true' : undefined}
    >
      <circle cx="12" cy="12" r="9" />
      <path d="M12 3a9 9 0 0 1 9 9" />
    </svg>
  )
}

/** A place for what is not there yet: lines that breathe. */
export function Skeleton({ lines = 3 }: { readonly lines?: number }) {
  return (
    <div class="ui-skeleton" role="status">
      <span class="ui-offscreen">{uiLabels.value.loading}</span>
      {Array.from({ length: lines }, (_, i) => (
        <div key={i} class="ui-skeleton-line" />
      ))}
    </div>
  )
}
