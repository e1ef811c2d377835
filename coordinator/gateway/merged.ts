/** One asynchronous sequence of several. */

/** What one source gave, or how it failed. */
interface Arrival<T> {
  readonly index: number
  readonly result: Promise<IteratorResult<T, void>>
}

/**
 * What `sources` give, each with its number, in the order in which it comes: none waits for another, and one that always has
 * something passes none over. Of each one thing is asked for ahead. Ends with the last of them, or when one fails.
 */
export async function* merged<T>(
  sources: readonly AsyncGenerator<T, void, undefined>[],
): AsyncGenerator<readonly [index: number, value: T], void, undefined> {
  const arrivals: Arrival<T>[] = []
  let wake = (): void => {}
  const ask = (index: number): void => {
    const result = sources[index]!.next()
    const arrive = (): void => {
      arrivals.push({ index, result })
      wake()
    }
    result.then(arrive, arrive)
  }
  try {
    for (const index of sources.keys()) ask(index)
    for (let open = sources.length; open > 0;) {
      const arrival = arrivals.shift()
      if (!arrival) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
        continue
      }
      const { done, value } = await arrival.result
      if (done === true) {
        open--
        continue
      }
      yield [arrival.index, value]
      ask(arrival.index)
    }
  } finally {
    // one that waits for something hears of it when that comes
    for (const source of sources) void source.return().catch(() => undefined)
  }
}
