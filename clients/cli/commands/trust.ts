/** `skein trust`: the local authority, by which clients know the gateway when it speaks TLS (`--tls local`). */
import { execFileSync } from 'node:child_process'
import { X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { isIP } from 'node:net'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { InvalidArgumentError, Option, type Command } from 'commander'
import type { Authority } from '../../../coordinator/index.ts'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { SystemClock, SystemRandom } from '../../../mesh/runtime/index.ts'
import { addGlobalOptions, createContext, type Context, type GlobalOptions } from '../context.ts'
import { AUTHORITY_CERT } from '../coordinator-client.ts'
import type { Output } from '../output.ts'
import { INSTRUCTIONS } from '../trust/instructions.ts'
import { shown, storePlan } from '../trust/stores.ts'

interface InitOptions extends GlobalOptions {
  readonly again?: boolean
  readonly permit?: readonly string[]
}

interface ChangeOptions extends GlobalOptions {
  readonly yes?: boolean
  readonly dryRun?: boolean
}

/** Longest name of the DNS. */
const NAME_LENGTH_MAX = 253

function nameOrAddress(text: string, all: readonly string[] | undefined): string[] {
  const name = text.toLowerCase()
  const isName = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(name)
  if (isIP(name) === 0 && (!isName || name.length > NAME_LENGTH_MAX))
    throw new InvalidArgumentError('a name such as desk.example.org, or an address')
  return [...(all ?? []), name]
}

export function registerTrust(program: Command): void {
  const trust = program.command('trust').description('the local authority, for TLS without a public certificate')
  addGlobalOptions(trust.command('init').description('make the local authority'))
    .addOption(new Option('--again', 'make a new one in place of the one that is there'))
    .addOption(
      new Option(
        '--permit <name>',
        'name or address beside the private ones that it may vouch for (repeatable)',
      ).argParser(nameOrAddress),
    )
    .action(init)
  addGlobalOptions(trust.command('status').description('show the local authority')).action(
    async (options: GlobalOptions) => {
      const { output, dataDir } = createContext(options)
      await report(await authorityOf(dataDir), output)
    },
  )
  addGlobalOptions(
    trust.command('export').description('print its certificate, and what to do with it on other machines'),
  ).action(async (options: GlobalOptions) => {
    const { output, dataDir } = createContext(options)
    const { cert, fingerprint } = await authorityOf(dataDir)
    if (output.json) return output.value({ cert, fingerprint })
    output.answer(cert)
    output.note(`\n${INSTRUCTIONS}`)
  })
  for (const [action, summary] of [
    ['install', 'make this system trust it'],
    ['uninstall', 'undo that'],
  ] as const)
    addGlobalOptions(trust.command(action).description(summary))
      .addOption(new Option('--yes', 'do not ask'))
      .addOption(new Option('--dry-run', 'print what would be run, and do nothing'))
      .action((options: ChangeOptions) => change(action, options))
}

async function init({ again, permit = [], ...options }: InitOptions): Promise<void> {
  const { output, dataDir } = createContext(options)
  const { createAuthority, readAuthority } = await import('../../../coordinator/index.ts')
  // one that is damaged is replaced too
  if (again !== true && (await readAuthority(dataDir)) !== undefined)
    throw new SkeinError(
      'USAGE',
      'there is a local authority already; --again makes another, and every client has to be told of it anew',
    )
  const { hostLabel } = await import('../tls-settings.ts')
  const components = { clock: new SystemClock(), random: new SystemRandom() }
  const authority = await createAuthority(components, dataDir, { host: hostLabel(), also: permit })
  await report(authority, output)
  output.note('\nStart with it: skein up --tls local    Tell other machines of it: skein trust export')
}

/** @throws SkeinError NOT_FOUND when none was made. */
async function authorityOf(dataDir: string): Promise<Authority> {
  const { readAuthority } = await import('../../../coordinator/index.ts')
  const authority = await readAuthority(dataDir)
  if (authority === undefined)
    throw new SkeinError('NOT_FOUND', `there is no local authority in ${dataDir}; make one with: skein trust init`)
  return authority
}

async function report(authority: Authority, output: Output): Promise<void> {
  const { permittedOf } = await import('../../../coordinator/index.ts')
  const { machineNames } = await import('../tls-settings.ts')
  const { subject, fingerprint, fromMs, untilMs, permitted } = authority
  const names = permittedOf(authority, machineNames('localhost'))
  if (output.json) return output.value({ subject, fingerprint, fromMs, untilMs, permitted, names })
  const blocks = permitted.blocks.map(({ address, bits }) => `${address}/${bits}`)
  output.line(subject)
  output.line(`  fingerprint    ${fingerprint} (SHA-256)`)
  output.line(`  until          ${new Date(untilMs).toISOString().slice(0, 10)}`)
  output.line(`  may vouch for  ${permitted.domains.join(', ')}, and what ends with them`)
  output.line(`                 ${blocks.join(', ')}`)
  output.line(`  this machine   ${names.join(', ')}`)
}

async function change(action: 'install' | 'uninstall', { yes, dryRun, ...options }: ChangeOptions): Promise<void> {
  const context = createContext(options)
  const { output, dataDir } = context
  const { cert } = await authorityOf(dataDir)
  const around = { platform: process.platform, has, isRoot: process.getuid?.() === 0, home: homedir() }
  const sha1 = new X509Certificate(cert).fingerprint.replaceAll(':', '')
  const { store, commands } = storePlan(action, around, { file: join(dataDir, AUTHORITY_CERT), sha1 })
  const lines = commands.map(shown)
  if (dryRun === true) return output.json ? output.value({ store, commands }) : output.line(lines.join('\n'))
  output.note(`This changes ${store}:\n${lines.map((line) => `  ${line}`).join('\n')}`)
  if (yes !== true && !(await agreed(context))) return output.note('nothing was changed')
  for (const argv of commands) run(argv)
  if (output.json) output.value({ store, commands })
  else
    output.line(action === 'install' ? `${store}: the local authority is trusted` : `${store}: it is trusted no more`)
}

/** Folders of administrators are in few accounts' path. */
const has = (program: string): boolean =>
  [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin', '/sbin'].some((folder) =>
    existsSync(join(folder, program)),
  )

/** What it asks, such as a password, it asks of the person at the terminal. @throws SkeinError TRUST_STORE_FAILED. */
function run([file, ...args]: readonly string[]): void {
  try {
    execFileSync(file!, args, { stdio: ['inherit', 2, 2] })
  } catch (cause) {
    throw new SkeinError('TRUST_STORE_FAILED', `\`${shown([file!, ...args])}\` failed: ${(cause as Error).message}`, {
      cause,
    })
  }
}

/** @throws SkeinError USAGE where nobody can be asked. */
async function agreed({ output }: Context): Promise<boolean> {
  if (process.stdin.isTTY !== true || output.json)
    throw new SkeinError('USAGE', 'nobody can be asked here, so say it with --yes')
  const lines = createInterface({ input: process.stdin, output: process.stderr })
  try {
    return /^y(es)?$/i.test((await lines.question('Go on? [y/N] ')).trim())
  } finally {
    lines.close()
  }
}
