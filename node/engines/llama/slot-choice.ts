/**
 * Which free sequence an attempt gets: the one that holds most of its beginning, else the one that was used longest ago.
 * Two things weigh against that. A sequence that holds a long conversation is not given to a short request while one is
 * free whose loss costs less. And sequences that decode together lie side by side, or llama.cpp splits their batch and goes
 * over all weights twice: which of the sequences with little to lose is taken goes by that first. A pure function.
 */

/** What is known of a sequence when an attempt comes. */
export interface SlotView {
  readonly isFree: boolean
  /** Tokens whose state it holds. */
  readonly held: number
  /** Of them, those that the attempt's input begins with. */
  readonly shared: number
  /** Grows with each use of any sequence; 0 when it was never used. */
  readonly lastUsed: number
}

/** Fewer shared tokens outweigh neither the order of use nor that of the sequences. */
export const PREFIX_TOKENS_MIN = 16
/** A beginning is shared enough when no more than this many times its tokens are lost behind it. */
const LOST_PER_SHARED_MAX = 4
/** A sequence is not emptier than another when it would lose more than half of what that one would. */
const EMPTIER_FACTOR = 2
/** Prefilling this many again takes about as long as some tens of decode steps: less than a split batch costs. */
const LITTLE_TOKENS = 256

/** Index of the sequence for an input of `inputTokens`; `undefined` when none is free. */
export function chooseSlot(slots: readonly SlotView[], inputTokens: number): number | undefined {
  const free = slots.flatMap((slot, index) =>
    slot.isFree ? [{ ...slot, index, lost: slot.held - slot.shared, isBeside: isBeside(slots, index) }] : [],
  )
  const [sharing] = free
    .filter(({ shared, lost }) => shared >= PREFIX_TOKENS_MIN && lost <= shared * LOST_PER_SHARED_MAX)
    .sort((a, b) => b.shared - a.shared || a.lost - b.lost || a.index - b.index)
  if (sharing !== undefined) return sharing.index
  const lostMax = Math.max(inputTokens, EMPTIER_FACTOR * Math.min(...free.map(({ lost }) => lost)))
  const isInOrder = ({ lost, isBeside }: { lost: number; isBeside: boolean }): boolean =>
    isBeside && lost <= LITTLE_TOKENS
  const [chosen] = free
    .filter(({ lost }) => lost <= lostMax)
    .sort((a, b) => Number(isInOrder(b)) - Number(isInOrder(a)) || a.lastUsed - b.lastUsed || a.index - b.index)
  return chosen?.index
}

/** Whether those at work stay side by side when this one joins them. */
function isBeside(slots: readonly SlotView[], index: number): boolean {
  const atWork = (at: number): boolean => slots[at]?.isFree === false
  return slots.every(({ isFree }) => isFree) || atWork(index - 1) || atWork(index + 1)
}
