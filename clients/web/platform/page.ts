/** The page in its window: seen or not, online or not, files in and out, the clipboard. */

/** What the system says. It knows of cables, not of coordinators: `false` is sure, `true` is not. */
export const isOnline = (): boolean => (globalThis.navigator as Partial<Navigator> | undefined)?.onLine ?? true

function listening(target: EventTarget, types: readonly string[], run: () => void): () => void {
  for (const type of types) target.addEventListener(type, run)
  return () => {
    for (const type of types) target.removeEventListener(type, run)
  }
}

/** Told when the system comes or goes online. @returns what ends it. */
export const onOnlineChange = (run: (isOnline: boolean) => void): (() => void) =>
  listening(globalThis, ['online', 'offline'], () => run(isOnline()))

export const isVisible = (): boolean => document.visibilityState === 'visible'

/** Told when the tab is shown or hidden, and before it is frozen. @returns what ends it. */
export const onVisibility = (run: (isVisible: boolean) => void): (() => void) =>
  listening(document, ['visibilitychange', 'resume'], () => run(isVisible()))

/** Told when the page may be the last time here: what is to be kept is kept now. @returns what ends it. */
export const onLeaving = (run: () => void): (() => void) => listening(globalThis, ['pagehide', 'freeze'], run)

/** Gives the user a file. */
export function saveFile(name: string, contents: Blob): void {
  const url = URL.createObjectURL(contents)
  const link = document.createElement('a')
  link.href = url
  link.download = name
  link.click()
  // the download has its own hold on the contents once it began, which is after this task
  setTimeout(() => URL.revokeObjectURL(url), 60_000)
}

/** Has the user choose files. Call from a click; none when the user changes their mind. */
export function pickFiles({ accept, isMany = false }: { accept?: string; isMany?: boolean } = {}): Promise<File[]> {
  const input = document.createElement('input')
  input.type = 'file'
  input.multiple = isMany
  if (accept !== undefined) input.accept = accept
  return new Promise((resolve) => {
    input.addEventListener('change', () => resolve([...(input.files ?? [])]))
    input.addEventListener('cancel', () => resolve([]))
    input.click()
  })
}

/** @returns whether the text is on the clipboard. Also on pages without certificate, which have no clipboard API. */
export async function copyText(text: string): Promise<boolean> {
  const clipboard = (navigator as Partial<Navigator>).clipboard
  if (clipboard !== undefined)
    try {
      await clipboard.writeText(text)
      return true
    } catch {
      // refused to pages that are not in front; the old way may still work
    }
  const field = document.createElement('textarea')
  field.value = text
  field.setAttribute('readonly', '')
  field.className = 'ui-offscreen'
  const before = document.activeElement
  // a modal dialog lets nothing outside of it have the focus
  ;(document.querySelector('dialog:modal') ?? document.body).append(field)
  field.select()
  const isCopied = document.execCommand('copy')
  field.remove()
  if (before instanceof HTMLElement) before.focus({ preventScroll: true })
  return isCopied
}
