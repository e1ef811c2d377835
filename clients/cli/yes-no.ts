/** A question to the person at the terminal. Where there is none, the answer is no. */
import { createInterface } from 'node:readline/promises'

export async function askYesNo(question: string): Promise<boolean> {
  if (process.stdin.isTTY !== true) return false
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return isYes(await lines.question(question))
  } finally {
    lines.close()
  }
}

export const isYes = (answer: string): boolean => /^\s*y(es)?\s*$/i.test(answer)
