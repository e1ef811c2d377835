import { ICONS, type IconName } from './icons.ts'

export interface IconProps {
  readonly name: IconName
  /** In CSS pixels; 18 when absent. */
  readonly size?: number
  readonly class?: string
  /** For an icon that says something by itself; without it the icon is decoration. */
  readonly label?: string
}

export function Icon({ name, size = 18, class: className, label }: IconProps) {
  return (
    <svg
      class={className === undefined ? 'ui-icon' : `ui-icon ${className}`}
      viewBox="0 0 24 24"
      width={size}
      height={size}
      fill="none"
      stroke="currentColor"
      stroke-width={name === 'more' ? 3 : 1.75}
      stroke-linecap="round"
      stroke-linejoin="round"
      role={label === undefined ? undefined : 'img'}
      aria-label={label}
      aria-hidden={label === undefined ? 'true' : undefined}
    >
      {ICONS[name].map((path) => (
        <path key={path} d={path} />
      ))}
    </svg>
  )
}
