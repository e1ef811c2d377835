/** A view that follows what grows at its end, for as long as the reader is there and no longer. */
import { signal, type ReadonlySignal } from '@preact/signals'

/** Nearer than this to the end is at the end: rounding, and the last line's own margin. */
const END_PX = 32

export class StickyScroll {
  readonly #isAtEnd = signal(true)
  #view: HTMLElement | undefined
  #topPx = 0

  get isAtEnd(): ReadonlySignal<boolean> {
    return this.#isAtEnd
  }

  /** @returns what lets go again. */
  attach(view: HTMLElement, content: HTMLElement): () => void {
    this.#view = view
    this.#topPx = view.scrollTop
    const onScroll = (): void => this.#onScroll(view)
    const observer = new ResizeObserver(() => {
      if (this.#isAtEnd.peek()) this.#follow(view)
    })
    observer.observe(content)
    observer.observe(view)
    view.addEventListener('scroll', onScroll, { passive: true })
    return () => {
      observer.disconnect()
      view.removeEventListener('scroll', onScroll)
      this.#view = undefined
    }
  }

  /** Goes to the end, and follows it from then on. */
  toEnd(): void {
    this.#isAtEnd.value = true
    if (this.#view) this.#follow(this.#view)
  }

  /** Another place is looked at: what grows at the end must not pull the view away. */
  letGo(): void {
    this.#isAtEnd.value = false
  }

  #follow(view: HTMLElement): void {
    view.scrollTop = view.scrollHeight
    this.#topPx = view.scrollTop
  }

  #onScroll(view: HTMLElement): void {
    const awayPx = view.scrollHeight - view.clientHeight - view.scrollTop
    if (awayPx <= END_PX) this.#isAtEnd.value = true
    // growth at the end scrolls nothing upwards: only a reader does
    else if (view.scrollTop < this.#topPx) this.#isAtEnd.value = false
    this.#topPx = view.scrollTop
  }
}
