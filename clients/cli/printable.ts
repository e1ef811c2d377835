/** Text that others wrote, for a terminal: control characters would move its cursor, set its title or fill its clipboard. */

// eslint-disable-next-line no-control-regex -- those are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** `text` with each control character, and each that turns the direction of writing, as `\xNN`. */
export const printable = (text: string): string =>
  text.replaceAll(CONTROL, (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, '0')}`)
