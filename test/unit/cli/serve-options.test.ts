import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { addServeOptions, serveOptions, type ServeOptions } from '../../../clients/cli/serve-options.ts'

const parse = (...args: string[]): ServeOptions => {
  const command = addServeOptions(new Command('node'), { coordinator: false, node: true })
  command.exitOverride().configureOutput({ writeErr: () => {} })
  return serveOptions(command.parse(args, { from: 'user' }).opts())
}

describe('the flags of a node', () => {
  it('name its tier, the edge unless told otherwise', () => {
    expect(parse().tier).toBe('edge')
    expect(parse('--tier', 'cloud').tier).toBe('cloud')
    expect(() => parse('--tier', 'moon')).toThrow('Allowed choices are edge, cloud')
  })

  it('name its price', () => {
    expect(parse()).not.toHaveProperty('price')
    expect(parse('--price', '0.15,0.6').price).toEqual({ inputPerMillion: 0.15, outputPerMillion: 0.6 })
    expect(parse('--price', '0,1000000').price).toEqual({ inputPerMillion: 0, outputPerMillion: 1_000_000 })
    for (const wrong of ['1', '1,', '-1,2', '1,2,3', '0,1000000.1', 'a,b', '1e3,1'])
      expect(() => parse('--price', wrong), wrong).toThrow('IN,OUT for a million tokens')
  })
})
