/**
 * Components that know nothing of the product: what they say comes in as properties, but for a handful of words
 * (`labels.ts`) that the application sets in its language. Colours and distances are the properties of `tokens.css`.
 */
import './tokens.css'
import './base.css'
import './controls.css'
import './overlays.css'
import './layout.css'

export {
  Button,
  IconButton,
  Skeleton,
  Spinner,
  type ButtonKind,
  type ButtonProps,
  type IconButtonProps,
} from './Button.tsx'
export { CopyButton, Copyable, type CopyableProps, type CopyButtonProps } from './Copyable.tsx'
export { Confirm, Dialog, useModal, type ConfirmProps, type DialogProps } from './Dialog.tsx'
export {
  Checkbox,
  Field,
  Select,
  Switch,
  TextArea,
  type CheckboxProps,
  type FieldProps,
  type SelectProps,
  type SwitchProps,
  type TextAreaProps,
} from './Field.tsx'
export {
  Badge,
  Meter,
  Progress,
  sparkPath,
  Sparkline,
  Stat,
  type BadgeProps,
  type MeterProps,
  type ProgressProps,
  type SparklineProps,
  type StatProps,
  type Tone,
} from './Figures.tsx'
export { Icon, type IconProps } from './Icon.tsx'
export { type IconName } from './icons.ts'
export { uiLabels, type UiLabels } from './labels.ts'
export { Menu, moveFocus, type MenuAction, type MenuItem, type MenuProps, type MenuTrigger } from './Menu.tsx'
export {
  Card,
  Disclosure,
  Empty,
  Notice,
  Page,
  Pairs,
  Section,
  type CardProps,
  type DisclosureProps,
  type EmptyProps,
  type NoticeProps,
  type PageProps,
  type PairsProps,
  type SectionProps,
} from './Page.tsx'
export { QrCode, type QrCodeProps } from './QrCode.tsx'
export { sortRows, Table, type Column, type TableProps, type TableSort } from './Table.tsx'
export { Tabs, type Tab, type TabsProps } from './Tabs.tsx'
export { showToast, type Toast } from './toasts.ts'
export { Toasts } from './Toasts.tsx'
export { Tooltip, type TooltipProps } from './Tooltip.tsx'
