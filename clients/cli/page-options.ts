/** Flags of the page that a node serves. */
import { InvalidArgumentError, Option, type Command } from 'commander'
import { isLoopback } from '../../mesh/page/index.ts'
import { hostPort, type HostPort } from './serve-options.ts'

function page(text: string): HostPort | 'off' {
  if (text === 'off') return 'off'
  const at = hostPort(text)
  // whoever reaches it asks the mesh what this machine's user may ask
  if (!isLoopback(at.host)) throw new InvalidArgumentError('off, or HOST:PORT of this machine alone: 127.0.0.1:7337')
  return at
}

function gateway(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const isOrigin = url?.pathname === '/' && url.search === '' && url.hash === '' && url.username + url.password === ''
  if (!url || !isOrigin || !['http:', 'https:'].includes(url.protocol))
    throw new InvalidArgumentError('an address such as http://192.168.1.10:7337')
  return url
}

export function addPageOptions(command: Command): void {
  command
    .addOption(
      new Option('--page <host:port>', 'where this machine has the page for its own browsers, or off')
        .env('SKEIN_PAGE')
        .argParser(page)
        .default(undefined, '127.0.0.1:7337, or the next free port'),
    )
    .addOption(
      new Option('--gateway <url>', "the coordinator's API, which that page asks")
        .env('SKEIN_GATEWAY')
        .argParser(gateway),
    )
}
