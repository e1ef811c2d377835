/** Services under systemd: units of the user's manager, or of the machine's. */
import { LIMITS } from '../../../mesh/protocol/index.ts'
import { encodeMark } from './mark.ts'
import { argumentWord, lineValue, listWord, programWord } from './systemd-text.ts'
import type { ManagedState, PlannedCommand, ServiceManager, ServicePlan, ServiceScope, ServiceSpec } from './types.ts'

/** Runs a program and gives what it wrote; `undefined` when it is missing, fails or takes too long. */
export type Ask = (file: string, ...args: string[]) => Promise<string | undefined>

export interface SystemdInit {
  readonly scope: ServiceScope
  /** Folder of the units. */
  readonly unitDir: string
  /** Major version; newer ones wait longer between restarts. */
  readonly version: number
  readonly ask: Ask
  /** Groups of this machine that own GPUs. */
  readonly deviceGroups: readonly string[]
  /** Whether the user's services run while nobody is logged in. */
  readonly isLingering: boolean
  /** The account exists already. */
  readonly hasAccount: boolean
}

/** Ours takes `shutdownMs` at most; systemd then kills what is left. */
export const STOP_SECONDS = Math.ceil(LIMITS.shutdownMs / 1000) + 5
/** Connections, streams, model files: far above what the limits allow. */
export const OPEN_FILES_MAX = 65_536
const RESTART_STEPS_SINCE = 254
const HOMES = ['/home', '/root', '/run/user']

export class SystemdManager implements ServiceManager {
  readonly #init: SystemdInit
  readonly #systemctl: readonly string[]

  constructor(init: SystemdInit) {
    this.#init = init
    this.#systemctl = init.scope === 'user' ? ['systemctl', '--user'] : ['systemctl']
  }

  path(name: string): string {
    return `${this.#init.unitDir}/${name}.service`
  }

  readonly outputCommand = (name: string): string =>
    this.#init.scope === 'user' ? `journalctl --user -u ${name}` : `journalctl -u ${name}`

  install(spec: ServiceSpec): ServicePlan {
    const { scope, hasAccount, isLingering } = this.#init
    const { name, account, dataDir } = spec
    const owned = scope === 'system' && account !== undefined
    const before: PlannedCommand[] = []
    if (owned && !hasAccount)
      before.push({
        argv: ['useradd', '--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin'].concat(
          '--home-dir',
          dataDir,
          account,
        ),
      })
    if (owned) before.push({ argv: ['mkdir', '-p', '-m', '0700', dataDir] })
    if (owned) before.push({ argv: ['chown', '-R', `${account}:`, dataDir] })
    return {
      before,
      files: [{ path: this.path(name), content: systemdUnit(spec, this.#init), encoding: 'utf8' }],
      removed: [],
      after: [
        { argv: [...this.#systemctl, 'daemon-reload'] },
        { argv: [...this.#systemctl, 'enable', `${name}.service`] },
        { argv: [...this.#systemctl, 'restart', `${name}.service`] },
      ],
      notes: [
        ...(scope === 'user' && !isLingering
          ? ['it runs while you are logged in; to have it run from boot on: loginctl enable-linger']
          : []),
        `change its settings with: ${this.#systemctl.join(' ')} edit ${name}   (its file is written anew by an installation)`,
      ],
    }
  }

  uninstall(name: string): ServicePlan {
    const unit = `${name}.service`
    return {
      before: [{ argv: [...this.#systemctl, 'disable', '--now', unit], mayFail: true }],
      files: [],
      removed: [this.path(name)],
      after: [
        { argv: [...this.#systemctl, 'daemon-reload'], mayFail: true },
        { argv: [...this.#systemctl, 'reset-failed', unit], mayFail: true },
      ],
      notes: [],
    }
  }

  async state(name: string): Promise<ManagedState | undefined> {
    const [systemctl, ...scope] = this.#systemctl
    const shown = await this.#init.ask(systemctl!, ...scope, 'show', `${name}.service`, `--property=${PROPERTIES}`)
    return shown === undefined ? undefined : parseShow(shown)
  }
}

const PROPERTIES = 'LoadState,ActiveState,SubState,MainPID,UnitFileState,ExecMainStatus,ExecMainExitTimestampMonotonic'

/** Of `systemctl show`. */
export function parseShow(text: string): ManagedState | undefined {
  const values = new Map(text.split('\n').map((line) => [line.split('=', 1)[0]!, line.slice(line.indexOf('=') + 1)]))
  const active = values.get('ActiveState')
  if (active === undefined) return undefined
  const pid = Number(values.get('MainPID'))
  const hasEnded = Number(values.get('ExecMainExitTimestampMonotonic')) > 0
  return {
    isRunning: active === 'active',
    state: `${active} (${values.get('SubState') ?? 'unknown'})`,
    pid: pid > 0 ? pid : undefined,
    startsByItself: values.get('UnitFileState') === undefined ? undefined : values.get('UnitFileState') === 'enabled',
    lastExitCode: hasEnded ? Number(values.get('ExecMainStatus')) : undefined,
  }
}

/** The unit. Each setting that may surprise says why it is there. */
export function systemdUnit(spec: ServiceSpec, init: Pick<SystemdInit, 'version' | 'deviceGroups'>): string {
  const [program, ...args] = spec.command
  const lines = [
    `# ${encodeMark({ role: spec.role, data: spec.dataDir, version: spec.version })}`,
    '# An installation writes this file anew; what is to stay goes into a drop-in (systemctl edit).',
    '[Unit]',
    `Description=${lineValue(`Skein (${spec.role})`)}`,
    // the user's manager knows no network; Skein waits for it by itself
    ...(spec.scope === 'system' ? ['Wants=network-online.target', 'After=network-online.target'] : []),
    '# It is started again for as long as it fails; not when its settings are wrong (exit code 2) or its owner has put',
    '# it out of the mesh (4).',
    'StartLimitIntervalSec=0',
    '',
    '[Service]',
    'Type=exec',
    `ExecStart=${[programWord(program!), ...args.map(argumentWord)].join(' ')}`,
    ...restart(init.version),
    '# Running answers get their time to end; then what is left is killed.',
    `TimeoutStopSec=${STOP_SECONDS}`,
    'KillMode=mixed',
    ...resources(spec),
    '# The log is a file (skein service logs). Standard output has keys and invites: it is for people who start Skein by hand.',
    'StandardOutput=null',
    'UMask=0077',
    'NoNewPrivileges=yes',
    ...(spec.scope === 'system' ? hardening(spec, init.deviceGroups) : []),
    '',
    '[Install]',
    `WantedBy=${spec.scope === 'system' ? 'multi-user.target' : 'default.target'}`,
  ]
  return `${lines.join('\n')}\n`
}

function restart(version: number): string[] {
  const lines = ['Restart=on-failure', 'RestartSec=5', 'RestartPreventExitStatus=2 4']
  // an older systemd knows no growing pause and complains about the setting
  return version >= RESTART_STEPS_SINCE ? [...lines, 'RestartSteps=6', 'RestartMaxDelaySec=300'] : lines
}

function resources({ nice, memoryMaxBytes }: ServiceSpec): string[] {
  return [
    `Nice=${nice}`,
    `LimitNOFILE=${OPEN_FILES_MAX}`,
    ...(memoryMaxBytes === undefined ? [] : [`MemoryMax=${memoryMaxBytes}`]),
    '# When memory runs out an engine goes, and its answers move; systemd would stop Skein itself.',
    'OOMPolicy=continue',
    'OOMScoreAdjust=300',
  ]
}

/** Of a service of the machine. Not there: what takes away GPUs (PrivateDevices, ProtectClock) or V8's compiler (MemoryDenyWriteExecute). */
function hardening({ account, dataDir, command }: ServiceSpec, deviceGroups: readonly string[]): string[] {
  const isAtHome = [dataDir, ...command].some((path) => HOMES.some((home) => path.startsWith(`${home}/`)))
  const isState = dataDir.startsWith('/var/lib/')
  return [
    `User=${account}`,
    ...(deviceGroups.length > 0 ? [`SupplementaryGroups=${deviceGroups.join(' ')}`] : []),
    `Environment=${listWord(`HOME=${dataDir}`)}`,
    ...(isState ? [`StateDirectory=${listWord(dataDir.slice('/var/lib/'.length))}`, 'StateDirectoryMode=0700'] : []),
    'ProtectSystem=strict',
    ...(isState ? [] : [`ReadWritePaths=${listWord(dataDir)}`]),
    `ProtectHome=${isAtHome ? 'read-only' : 'yes'}`,
    'PrivateTmp=yes',
    'ProtectKernelTunables=yes',
    'ProtectKernelModules=yes',
    'ProtectKernelLogs=yes',
    'ProtectControlGroups=yes',
    'ProtectHostname=yes',
    'RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK',
    'RestrictNamespaces=yes',
    'RestrictRealtime=yes',
    'RestrictSUIDSGID=yes',
    'LockPersonality=yes',
    'SystemCallArchitectures=native',
    'CapabilityBoundingSet=',
  ]
}
