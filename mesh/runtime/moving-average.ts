/** The exponentially weighted average after `sample`; the first sample is the average. @param weight of the newest, 0 to 1. */
export const movingAverage = (known: number | undefined, sample: number, weight: number): number =>
  known === undefined ? sample : known + weight * (sample - known)
