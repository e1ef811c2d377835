import { Command } from 'commander'
import { describe, expect, it } from 'vitest'
import { collectorHeaders } from '../../../clients/cli/trace-options.ts'
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

  it('name what energy and clouds cost', () => {
    expect(coordinator()).not.toHaveProperty('energyPrice')
    expect(coordinator('--energy-price', '0.31', '--prices', 'p.json')).toMatchObject({
      energyPrice: 0.31,
      prices: 'p.json',
    })
    for (const wrong of ['-1', '', 'free', '1e3', '0,3'])
      expect(() => coordinator('--energy-price', wrong), wrong).toThrow('a price')
  })

  it('name a collector of spans, below whose address theirs is', () => {
    expect(coordinator()).not.toHaveProperty('otlp')
    expect(coordinator().otlpRatio).toBe(1)
    const of = (url: string): string => new URL(coordinator('--otlp', url).otlp!).href
    expect(of('http://127.0.0.1:4318')).toBe('http://127.0.0.1:4318/v1/traces')
    expect(of('https://api.example/otlp/')).toBe('https://api.example/otlp/v1/traces')
    expect(coordinator('--otlp', '').otlp).toBe('')
    expect(coordinator('--otlp-ratio', '0.05').otlpRatio).toBe(0.05)
    for (const wrong of ['127.0.0.1:4318', 'grpc://a', 'http://u:p@a', 'http://a?key=1'])
      expect(() => coordinator('--otlp', wrong), wrong).toThrow('OTLP/HTTP')
    for (const wrong of ['2', '-0.1', '', 'half']) expect(() => coordinator('--otlp-ratio', wrong)).toThrow('a share')
  })

  it('give a collector the headers of its variable', () => {
    expect(collectorHeaders('authorization=Bearer%20abc, X-Team = home ,nonsense,=x,a=100%')).toEqual({
      authorization: 'Bearer abc',
      'x-team': 'home',
      a: '100%',
    })
    expect(collectorHeaders()).toEqual({})
    // no header of its own can be smuggled in behind another
    expect(collectorHeaders('a=b%0d%0ac: d')).toEqual({})
  })
})
