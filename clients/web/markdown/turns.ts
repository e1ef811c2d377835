/** Work that nobody waits for, one piece in each frame, so that a page full of code stays smooth. */
import { systemClock } from '../platform/index.ts'

const waiting: (() => void)[] = []
let isRunning = false

/** @returns what takes it back. */
export function inTurn(run: () => void): () => void {
  waiting.push(run)
  next()
  return () => {
    const at = waiting.indexOf(run)
    if (at !== -1) waiting.splice(at, 1)
  }
}

function next(): void {
  if (isRunning || waiting.length === 0) return
  isRunning = true
  systemClock.frame(() => {
    isRunning = false
    waiting.shift()?.()
    next()
  })
}
