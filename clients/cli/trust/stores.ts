/** How systems are told of an authority, where that is one known command, and how it is taken back. Pure. */
import { SkeinError } from '../../../mesh/protocol/index.ts'

/** Programs with their arguments; no shell is between. */
export type Commands = readonly (readonly string[])[]

export interface StorePlan {
  /** What is changed, for people. */
  readonly store: string
  readonly commands: Commands
}

export interface StoreSurroundings {
  readonly platform: NodeJS.Platform
  /** Of the programs asked for, those that are there. */
  readonly has: (program: string) => boolean
  readonly isRoot: boolean
  readonly home: string
}

export interface KnownAuthority {
  /** Its certificate. */
  readonly file: string
  /** SHA-1 in hexadecimal, without colons: the name that Windows has for it. */
  readonly sha1: string
}

/** Where distributions look for authorities of their owner, and what takes them over. */
const LINUX = [
  { program: 'update-ca-certificates', folder: '/usr/local/share/ca-certificates' },
  { program: 'update-ca-trust', folder: '/etc/pki/ca-trust/source/anchors' },
] as const

/** @throws SkeinError TRUST_STORE_FAILED where no command is known. */
export function storePlan(
  action: 'install' | 'uninstall',
  around: StoreSurroundings,
  authority: KnownAuthority,
): StorePlan {
  const { platform, home } = around
  const isInstall = action === 'install'
  const { file, sha1 } = authority
  if (platform === 'darwin') {
    const keychain = `${home}/Library/Keychains/login.keychain-db`
    const add = ['security', 'add-trusted-cert', '-r', 'trustRoot', '-k', keychain, file]
    return { store: 'your login keychain', commands: [isInstall ? add : ['security', 'remove-trusted-cert', file]] }
  }
  if (platform === 'win32') {
    const change = isInstall ? ['-addstore', 'Root', file] : ['-delstore', 'Root', sha1]
    return { store: "your account's trusted root authorities", commands: [['certutil', '-user', ...change]] }
  }
  const found = platform === 'linux' ? LINUX.find(({ program }) => around.has(program)) : undefined
  if (found === undefined)
    throw new SkeinError(
      'TRUST_STORE_FAILED',
      "no command is known that changes this system's trusted authorities; `skein trust export` says what can be done",
    )
  const target = `${found.folder}/skein-${sha1.slice(0, 8).toLowerCase()}.crt`
  const change = isInstall ? ['install', '-m', '644', file, target] : ['rm', '-f', target]
  const asRoot = (argv: readonly string[]): readonly string[] => (around.isRoot ? argv : ['sudo', ...argv])
  return {
    store: `the authorities of this system (${found.folder})`,
    commands: [asRoot(change), asRoot([found.program])],
  }
}

/** A command as a shell would take it. */
export const shown = (argv: readonly string[]): string =>
  argv.map((word) => (/^[\w./:=@-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`)).join(' ')
