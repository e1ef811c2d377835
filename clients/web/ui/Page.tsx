import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { Button, IconButton } from './Button.tsx'
import type { Tone } from './Figures.tsx'
import { Icon } from './Icon.tsx'
import type { IconName } from './icons.ts'
import { uiLabels } from './labels.ts'

export interface PageProps {
  readonly title: ComponentChildren
  /** A sentence below the title. */
  readonly description?: ComponentChildren
  /** Beside the title. */
  readonly actions?: ComponentChildren
  /** The page above this one. */
  readonly back?: { readonly href: string; readonly label: string }
  /** `text` is 72 characters wide, `wide` takes the whole place. */
  readonly width?: 'text' | 'normal' | 'wide'
  readonly children: ComponentChildren
}

/** A page that scrolls, with its title, which takes the focus when the page is come to. */
export function Page({ title, description, actions, back, width = 'normal', children }: PageProps) {
  return (
    <div class="ui-page">
      <div class={`ui-page-inner ui-page-${width}`}>
        <header class="ui-page-head">
          <div class="ui-page-titles">
            {back !== undefined && (
              <a class="ui-page-back" href={back.href}>
                <Icon name="chevronLeft" size={15} />
                {back.label}
              </a>
            )}
            <h1 tabIndex={-1} data-page-title>
              {title}
            </h1>
            {description !== undefined && <p class="ui-page-description">{description}</p>}
          </div>
          {actions !== undefined && <div class="ui-page-actions">{actions}</div>}
        </header>
        {children}
      </div>
    </div>
  )
}

export interface SectionProps {
  readonly title: ComponentChildren
  readonly description?: ComponentChildren
  readonly actions?: ComponentChildren
  readonly children: ComponentChildren
}

/** A part of a page under a heading. */
export function Section({ title, description, actions, children }: SectionProps) {
  return (
    <section class="ui-section">
      <div class="ui-section-head">
        <div>
          <h2>{title}</h2>
          {description !== undefined && <p class="ui-section-description">{description}</p>}
        </div>
        {actions !== undefined && <div class="ui-page-actions">{actions}</div>}
      </div>
      {children}
    </section>
  )
}

export interface CardProps {
  readonly children: ComponentChildren
  /** Without its own distance to the border, for tables and lists. */
  readonly isFlush?: boolean
  readonly class?: string
}

export function Card({ children, isFlush = false, class: className = '' }: CardProps) {
  return <div class={`ui-card ${isFlush ? 'ui-card-flush' : ''} ${className}`.trim()}>{children}</div>
}

export interface EmptyProps {
  readonly icon?: IconName
  readonly title: string
  readonly children?: ComponentChildren
  readonly action?: ComponentChildren
}

/** Where there is nothing: what would be here, and how it comes. */
export function Empty({ icon, title, children, action }: EmptyProps) {
  return (
    <div class="ui-empty">
      {icon !== undefined && (
        <div class="ui-empty-icon">
          <Icon name={icon} size={26} />
        </div>
      )}
      <h2>{title}</h2>
      {children !== undefined && <div class="ui-empty-text">{children}</div>}
      {action}
    </div>
  )
}

const NOTICE_ICONS: Readonly<Record<Tone, IconName>> = {
  neutral: 'info',
  accent: 'info',
  info: 'info',
  good: 'check',
  warning: 'alert',
  danger: 'alert',
}

export interface NoticeProps {
  readonly tone?: Tone
  readonly title?: string
  readonly children?: ComponentChildren
  readonly action?: { readonly label: string; readonly onClick: () => void }
  readonly onClose?: () => void
}

/** Something to know, where it belongs. `danger` is told to readers of screens at once. */
export function Notice({ tone = 'info', title, children, action, onClose }: NoticeProps) {
  return (
    <div class={`ui-notice ui-tone-${tone}`} role={tone === 'danger' ? 'alert' : undefined}>
      <Icon name={NOTICE_ICONS[tone]} size={18} />
      <div class="ui-notice-text">
        {title !== undefined && <strong>{title}</strong>}
        {children !== undefined && <div>{children}</div>}
      </div>
      {action !== undefined && (
        <Button size="s" onClick={action.onClick}>
          {action.label}
        </Button>
      )}
      {onClose !== undefined && <IconButton icon="close" size="s" label={uiLabels.value.close} onClick={onClose} />}
    </div>
  )
}

export interface PairsProps {
  readonly pairs: readonly (readonly [name: ComponentChildren, value: ComponentChildren])[]
}

/** Names and values. */
export function Pairs({ pairs }: PairsProps) {
  return (
    <dl class="ui-pairs">
      {pairs.map(([name, value], index) => (
        <div key={index}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  )
}

export interface DisclosureProps {
  readonly summary: ComponentChildren
  readonly isOpen?: boolean
  readonly children: ComponentChildren
}

/** What is read when asked for. Its children are made when it is opened first. */
export function Disclosure({ summary, isOpen = false, children }: DisclosureProps) {
  const [wasOpen, setOpen] = useState(isOpen)
  return (
    <details class="ui-disclosure" open={isOpen} onToggle={(event) => event.currentTarget.open && setOpen(true)}>
      <summary>
        <Icon name="chevronRight" size={15} />
        {summary}
      </summary>
      {wasOpen && <div class="ui-disclosure-body">{children}</div>}
    </details>
  )
}
