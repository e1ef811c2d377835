import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { addServeOptions, serveOptions, type ServeOptions } from '../../../clients/cli/serve-options.ts'

const parse = (...args: string[]): ServeOptions => parseFor({ coordinator: false, node: true }, args)

function parseFor(roles: { coordinator: boolean; node: boolean }, args: readonly string[]): ServeOptions {
  const command = addServeOptions(new Command('node'), roles)
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

describe('the flags of a coordinator', () => {
  const coordinator = (...args: string[]): ServeOptions => parseFor({ coordinator: true, node: false }, args)

  it("name a second address, Ollama's own unless told otherwise", () => {
    expect(coordinator()).not.toHaveProperty('ollama')
    expect(coordinator('--ollama').ollama).toEqual({ host: '127.0.0.1', port: 11_434 })
    expect(coordinator('--ollama', '--no-mdns').ollama).toEqual({ host: '127.0.0.1', port: 11_434 })
    expect(coordinator('--ollama', '[::1]:0').ollama).toEqual({ host: '::1', port: 0 })
    expect(() => coordinator('--ollama', 'everywhere')).toThrow('HOST:PORT')
  })
})
