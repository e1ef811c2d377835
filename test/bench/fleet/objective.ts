/** When an answer was good, and the figures of a run. */
import { percentile } from '../stats.ts'
import type { Task } from './simulate.ts'

/** The first token within 2 s, and 2 ms more for each token of the prompt; the rest at reading speed (250 words a minute). */
const FIRST_TOKEN_MS = 2000
const FIRST_TOKEN_MS_PER_PROMPT_TOKEN = 2
const READING_MS_PER_TOKEN = 1000 / 6

export function isGood({ request, arrivedMs, firstTokenMs, endMs }: Task): boolean {
  const waitedMs = firstTokenMs - arrivedMs
  const isInTime = waitedMs <= FIRST_TOKEN_MS + FIRST_TOKEN_MS_PER_PROMPT_TOKEN * request.promptTokens
  return isInTime && endMs - firstTokenMs <= READING_MS_PER_TOKEN * request.answer.tokens
}

/** Times in ms, goodput as a share. */
export interface Figures {
  readonly firstToken50: number
  readonly firstToken99: number
  readonly completion50: number
  readonly completion99: number
  readonly goodput: number
}

export function figuresOf(tasks: readonly Task[]): Figures {
  const firstToken = tasks.map(({ arrivedMs, firstTokenMs }) => firstTokenMs - arrivedMs)
  const completion = tasks.map(({ arrivedMs, endMs }) => endMs - arrivedMs)
  return {
    firstToken50: percentile(firstToken, 0.5),
    firstToken99: percentile(firstToken, 0.99),
    completion50: percentile(completion, 0.5),
    completion99: percentile(completion, 0.99),
    goodput: tasks.filter(isGood).length / tasks.length,
  }
}

/** The best of each figure. */
export function bestOf(all: readonly Figures[]): Figures {
  const least = (key: keyof Figures): number => Math.min(...all.map((each) => each[key]))
  return {
    firstToken50: least('firstToken50'),
    firstToken99: least('firstToken99'),
    completion50: least('completion50'),
    completion99: least('completion99'),
    goodput: Math.max(...all.map((each) => each.goodput)),
  }
}
