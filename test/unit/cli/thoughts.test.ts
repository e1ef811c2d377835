import { describe, expect, it } from 'vitest'
import { createOutput } from '../../../clients/cli/output.ts'
import { ThoughtDisplay } from '../../../clients/cli/thoughts.ts'

function display(init: { isShown: boolean; json?: boolean; isTTY?: boolean }) {
  const written = { stdout: '', stderr: '' }
  const stream = (name: 'stdout' | 'stderr') =>
    ({ isTTY: init.isTTY, write: (text: string) => ((written[name] += text), true) }) as never
  const output = createOutput(init.json ?? false, { stdout: stream('stdout'), stderr: stream('stderr') })
  const thoughts = new ThoughtDisplay(output, init.isShown)
  for (const piece of ['Let me', ' see']) thoughts.thought(piece)
  thoughts.end()
  thoughts.end()
  return written
}

describe('a thought', () => {
  it('is shown on stderr, away from the answer', () => {
    expect(display({ isShown: true })).toEqual({ stdout: '', stderr: 'Let me see\n\n' })
  })

  it('is dimmed on a terminal', () => {
    expect(display({ isShown: true, isTTY: true }).stderr).toBe(
      ['Let me', ' see', '\n\n'].map((text) => `\u001b[2m${text}\u001b[22m`).join(''),
    )
  })

  it('is said to be there where it is not shown', () => {
    expect(display({ isShown: false })).toEqual({ stdout: '', stderr: 'thinking…\n' })
  })

  it('is silent under --json', () => {
    expect(display({ isShown: true, json: true })).toEqual({ stdout: '', stderr: '' })
  })
})
