/** `skein demo`, as a newcomer runs it. */
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { describe, expect, it } from 'vitest'
import { skein } from '../fixtures/skein-process.ts'

describe('skein demo', () => {
  it('kills the node that speaks, and the answer goes on; nothing of it stays', async () => {
    const { code, stdout, stderr } = await skein(['demo', '--json'], { timeoutMs: 110_000 })
    expect(code, stderr).toBe(0)
    const { text, victim, successor, fromToken, tokens } = JSON.parse(stdout) as Record<string, string | number>
    expect(successor).not.toBe(victim)
    expect(fromToken).toBeGreaterThan(0)
    expect(tokens).toBeGreaterThan(Number(fromToken))
    expect(text).toMatch(/[.!?]"?$/)
    expect((await readdir(tmpdir())).filter((name) => name.startsWith('skein-demo-'))).toEqual([])
  })
})
