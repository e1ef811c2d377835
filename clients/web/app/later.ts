/** Parts of the frame that are loaded when they are wanted. */
export { KeyDialog } from './KeyDialog.tsx'
export { KeysDialog } from './KeysDialog.tsx'
export { Palette } from './Palette.tsx'
export { Settings } from './Settings.tsx'
