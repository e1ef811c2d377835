import { describe, expect, it } from 'vitest'
import { absoluteAdapter, adapterChoice } from '../../../clients/cli/adapter-options.ts'

describe('--adapter', () => {
  it('names a model and its adapters, with how much of each is applied', () => {
    expect(adapterChoice('poet=llama-3.2-1b,style.gguf')).toEqual([
      { name: 'poet', base: 'llama-3.2-1b', adapters: [{ file: 'style.gguf', scale: 1 }] },
    ])
    const first = adapterChoice('a=hf:o/r:Q4_K_M@main,/x/a@home.gguf@0.5,b.gguf@-1')
    expect(first).toEqual([
      {
        name: 'a',
        base: 'hf:o/r:Q4_K_M@main',
        adapters: [
          { file: '/x/a@home.gguf', scale: 0.5 },
          { file: 'b.gguf', scale: -1 },
        ],
      },
    ])
    expect(adapterChoice('b=m,f', first).map(({ name }) => name)).toEqual(['a', 'b'])
  })

  it('takes several of a variable, with spaces between', () => {
    expect(adapterChoice('a=m,f@2 b=m,g').map(({ name }) => name)).toEqual(['a', 'b'])
  })

  it('refuses what it cannot be', () => {
    for (const wrong of ['', 'a', 'a=', 'a=m', 'a=m,', '=m,f', 'ä=m,f', `${'a'.repeat(200)}=m,f`])
      expect(() => adapterChoice(wrong), wrong).toThrow(/FILE/)
    expect(() => adapterChoice('a=m,f@5000')).toThrow(/from -1000 to 1000/)
    expect(() => adapterChoice(`a=m${',f'.repeat(9)}`)).toThrow(/at most 8 files/)
    expect(() => adapterChoice('a=m,f', adapterChoice('a=n,g'))).toThrow(/a is there twice/)
  })

  it('is made absolute for a service, where it names files', async () => {
    const isPath = (text: string): Promise<boolean> => Promise.resolve(text.endsWith('.gguf'))
    const text = await absoluteAdapter('a=base.gguf,x.gguf@0.5,stored', isPath, (path) => `/here/${path}`)
    expect(text).toBe('a=/here/base.gguf,/here/x.gguf@0.5,stored')
  })
})
