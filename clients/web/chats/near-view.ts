/** Which parts of a long page are near what is seen: one observer for all of them. */
import { useEffect, useRef, useState } from 'preact/hooks'

/** Above and below the view; a flick of a finger goes about this far before the next frame. */
const MARGIN_PX = 1500

export class NearView {
  readonly #root: () => Element | null
  readonly #callbacks = new WeakMap<Element, (isNear: boolean) => void>()
  #observer: IntersectionObserver | undefined

  /** `root`: what scrolls; asked for at the first part, when it is there. */
  constructor(root: () => Element | null) {
    this.#root = root
  }

  /** @returns what ends it. */
  watch(part: Element, onChange: (isNear: boolean) => void): () => void {
    this.#callbacks.set(part, onChange)
    this.#observer ??= new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) this.#callbacks.get(target)?.(isIntersecting)
      },
      { root: this.#root(), rootMargin: `${MARGIN_PX}px 0px` },
    )
    this.#observer.observe(part)
    return () => {
      this.#callbacks.delete(part)
      this.#observer?.unobserve(part)
    }
  }

  close(): void {
    this.#observer?.disconnect()
    this.#observer = undefined
  }
}

/** Whether a part is near the view; its place is kept at about `heightPx` while nobody has laid it out. */
export function useNear(near: NearView, startsNear: boolean, heightPx: () => number) {
  const ref = useRef<HTMLElement>(null)
  const [isNear, setNear] = useState(startsNear)
  useEffect(() => {
    const part = ref.current!
    part.style.setProperty('contain-intrinsic-size', `auto ${heightPx()}px`)
    return near.watch(part, setNear)
  }, [near])
  return { ref, isNear }
}
