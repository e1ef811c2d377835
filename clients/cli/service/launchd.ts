/** Services under macOS: agents of the user who is logged in, or daemons of the machine. */
import { encodeMark } from './mark.ts'
import { OPEN_FILES_MAX, STOP_SECONDS, type Ask } from './systemd.ts'
import type { ManagedState, ServiceManager, ServicePlan, ServiceScope, ServiceSpec } from './types.ts'
import { xmlText } from './xml.ts'

export interface LaunchdInit {
  readonly scope: ServiceScope
  /** Folder of the property lists. */
  readonly plistDir: string
  /** Of the user. */
  readonly uid: number
  readonly ask: Ask
}

/** Between two starts of one that keeps failing. launchd has no growing pause. */
const THROTTLE_SECONDS = 30
const PRIVATE_UMASK = 0o077

const labelOf = (name: string): string => `skein.${name}`

export class LaunchdManager implements ServiceManager {
  readonly #init: LaunchdInit
  readonly #domain: string

  constructor(init: LaunchdInit) {
    this.#init = init
    this.#domain = init.scope === 'user' ? `gui/${init.uid}` : 'system'
  }

  path(name: string): string {
    return `${this.#init.plistDir}/${labelOf(name)}.plist`
  }

  /** Standard output has keys and invites, and nothing bounds a file that launchd writes: there is none. */
  readonly outputCommand = (): undefined => undefined

  install(spec: ServiceSpec): ServicePlan {
    const { scope } = this.#init
    const target = `${this.#domain}/${labelOf(spec.name)}`
    const path = this.path(spec.name)
    const owned = scope === 'system' && spec.account !== undefined
    return {
      before: owned
        ? [{ argv: ['mkdir', '-p', spec.dataDir] }, { argv: ['chown', '-R', spec.account, spec.dataDir] }]
        : [],
      files: [{ path, content: launchdPlist(spec), encoding: 'utf8' }],
      removed: [],
      after: [
        { argv: ['launchctl', 'bootout', target], mayFail: true },
        { argv: ['launchctl', 'bootstrap', this.#domain, path] },
      ],
      notes: scope === 'user' ? ['it runs while you are logged in; to have it run from boot on, use --system'] : [],
    }
  }

  uninstall(name: string): ServicePlan {
    return {
      before: [{ argv: ['launchctl', 'bootout', `${this.#domain}/${labelOf(name)}`], mayFail: true }],
      files: [],
      removed: [this.path(name)],
      after: [],
      notes: [],
    }
  }

  async state(name: string): Promise<ManagedState | undefined> {
    const printed = await this.#init.ask('launchctl', 'print', `${this.#domain}/${labelOf(name)}`)
    return printed === undefined ? undefined : parsePrint(printed)
  }
}

/** Of `launchctl print`. */
export function parsePrint(text: string): ManagedState {
  const value = (name: string): string | undefined => new RegExp(`^\\s*${name} = (.*)$`, 'm').exec(text)?.[1]
  const state = value('state') ?? 'unknown'
  const [pid, code] = [Number(value('pid')), Number(value('last exit code'))]
  return {
    isRunning: state === 'running',
    state,
    pid: pid > 0 ? pid : undefined,
    startsByItself: true,
    lastExitCode: Number.isInteger(code) ? code : undefined,
  }
}

export function launchdPlist(spec: ServiceSpec): string {
  const { name, role, scope, dataDir, version, command, account, nice } = spec
  const text = (value: string): string => `<string>${xmlText(value)}</string>`
  const entry = (key: string, value: string): string => `  <key>${key}</key>\n  ${value}`
  const files = `<dict><key>NumberOfFiles</key><integer>${OPEN_FILES_MAX}</integer></dict>`
  const entries = [
    entry('Label', text(labelOf(name))),
    entry('ProgramArguments', `<array>\n${command.map((word) => `    ${text(word)}\n`).join('')}  </array>`),
    ...(scope === 'system' && account !== undefined ? [entry('UserName', text(account))] : []),
    entry('WorkingDirectory', text(dataDir)),
    entry('RunAtLoad', '<true/>'),
    entry('KeepAlive', '<dict><key>SuccessfulExit</key><false/></dict>'),
    entry('ThrottleInterval', `<integer>${THROTTLE_SECONDS}</integer>`),
    entry('ExitTimeOut', `<integer>${STOP_SECONDS}</integer>`),
    entry('Nice', `<integer>${nice}</integer>`),
    entry('SoftResourceLimits', files),
    entry('HardResourceLimits', files),
    entry('Umask', `<integer>${PRIVATE_UMASK}</integer>`),
    entry('StandardOutPath', text('/dev/null')),
    entry('StandardErrorPath', text('/dev/null')),
  ]
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">',
    `<!-- ${encodeMark({ role, data: dataDir, version })} -->`,
    '<plist version="1.0">',
    '<dict>',
    ...entries,
    '</dict>',
    '</plist>',
    '',
  ].join('\n')
}
