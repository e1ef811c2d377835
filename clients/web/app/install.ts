/** The page as an app of the system, where the browser offers it. */
import { computed, signal } from '@preact/signals'

/** Of browsers built on Chromium; no standard yet. */
interface InstallPrompt extends Event {
  prompt(): Promise<unknown>
}

const offered = signal<InstallPrompt | undefined>(undefined)
export const canInstall = computed(() => offered.value !== undefined)

/** From the start of the page on: the browser offers it once. */
export function awaitInstallOffer(window: Pick<EventTarget, 'addEventListener'>): void {
  window.addEventListener('beforeinstallprompt', (event) => {
    event.preventDefault()
    offered.value = event as InstallPrompt
  })
  window.addEventListener('appinstalled', () => void (offered.value = undefined))
}

export async function install(): Promise<void> {
  const prompt = offered.peek()
  offered.value = undefined
  await prompt?.prompt()
}
