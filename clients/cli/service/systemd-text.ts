/** Text of a systemd unit: what stands for itself there (systemd.syntax(7), systemd.service(5)). */
import { SkeinError } from '../../../mesh/protocol/index.ts'

// eslint-disable-next-line no-control-regex -- those are what is refused
const CONTROL = /[\u0000-\u001f\u007f]/
const PLAIN = /^[A-Za-z0-9_@%+=:,./$-]+$/

/** @throws SkeinError CONFIG_INVALID for a line feed and the like, which no file of a service manager should carry. */
export function assertPlainText(text: string): void {
  if (CONTROL.test(text))
    throw new SkeinError('CONFIG_INVALID', `a service takes no control characters: ${JSON.stringify(text)}`)
}

/** A percent sign begins a specifier everywhere. */
const escapeSpecifiers = (text: string): string => text.replaceAll('%', '%%')

const quoted = (text: string): string => {
  assertPlainText(text)
  return PLAIN.test(text) ? text : `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

/**
 * The program of `ExecStart=`. Variables are not replaced in it: a dollar sign is one.
 *
 * @throws SkeinError CONFIG_INVALID for what systemd takes for no path of a program, whatever stands around it.
 */
export function programWord(path: string): string {
  if (/["'\\]/.test(path))
    throw new SkeinError('CONFIG_INVALID', `systemd starts no program with a quote or backslash in its path: ${path}`)
  return quoted(escapeSpecifiers(path))
}

/** An argument of `ExecStart=`, where `$$` is a dollar sign. */
export const argumentWord = (text: string): string => quoted(escapeSpecifiers(text).replaceAll('$', '$$$$'))

/** A word of a list of paths, or an assignment of `Environment=`. */
export const listWord = (text: string): string => quoted(escapeSpecifiers(text))

/** A value that goes to the end of its line, such as a description. */
export function lineValue(text: string): string {
  assertPlainText(text)
  // a backslash at the end would go on with the next line
  return escapeSpecifiers(text).replace(/\\$/, '\\ ').trim()
}
