/** Text in XML. */
import { assertPlainText } from './systemd-text.ts'

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
}

/** @throws SkeinError CONFIG_INVALID for control characters, which XML 1.0 cannot carry. */
export function xmlText(text: string): string {
  assertPlainText(text)
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character]!)
}
