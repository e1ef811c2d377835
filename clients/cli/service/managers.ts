/** Which service manager this machine has, and what it is asked before anything is planned. */
import { readFile } from 'node:fs/promises'
import { homedir, userInfo } from 'node:os'
import { join } from 'node:path'
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { LaunchdManager } from './launchd.ts'
import { SystemdManager, type Ask } from './systemd.ts'
import type { ServiceManager, ServiceScope } from './types.ts'
import { WindowsManager } from './windows.ts'

export interface ManagersInit {
  readonly platform: NodeJS.Platform
  readonly scope: ServiceScope
  readonly env: Readonly<Record<string, string | undefined>>
  readonly ask: Ask
  /** Account of a system service, where its existence matters. */
  readonly account?: string
}

/** Account of system services on Linux, unless another is named. */
export const SYSTEM_ACCOUNT = 'skein'
export const SYSTEM_DATA_DIR = '/var/lib/skein'
/** Who may use GPUs on Linux, where such groups exist. */
const DEVICE_GROUPS = ['video', 'render']

/** @throws SkeinError SERVICE_UNSUPPORTED. */
export async function findManager(init: ManagersInit): Promise<ServiceManager> {
  const { platform, scope, env, ask } = init
  if (platform === 'linux') return systemdOf(init)
  if (platform === 'darwin') {
    const library = scope === 'user' ? join(homedir(), 'Library', 'LaunchAgents') : '/Library/LaunchDaemons'
    return new LaunchdManager({ scope, plistDir: library, uid: userInfo().uid, ask })
  }
  if (platform === 'win32') {
    const base = scope === 'user' ? (env['LOCALAPPDATA'] ?? homedir()) : (env['ProgramData'] ?? 'C:\\ProgramData')
    const user = `${env['USERDOMAIN'] ?? '.'}\\${env['USERNAME'] ?? userInfo().username}`
    return new WindowsManager({ scope, taskDir: `${base}\\Skein`, user, ask })
  }
  throw new SkeinError('SERVICE_UNSUPPORTED', `Skein knows no service manager of ${platform}`)
}

async function systemdOf({ scope, env, ask, account }: ManagersInit): Promise<SystemdManager> {
  const [version, groups, linger, passwd] = await Promise.all([
    ask('systemctl', '--version'),
    readFile('/etc/group', 'utf8').catch(() => ''),
    ask('loginctl', 'show-user', userInfo().username, '--property=Linger', '--value'),
    account === undefined ? undefined : ask('getent', 'passwd', account),
  ])
  const major = /^systemd (\d+)/.exec(version ?? '')?.[1]
  if (major === undefined)
    throw new SkeinError(
      'SERVICE_UNSUPPORTED',
      'this machine has no systemd; let its own service manager start what `skein service install … --dry-run` prints elsewhere',
    )
  const config = env['XDG_CONFIG_HOME'] ?? join(homedir(), '.config')
  const names = new Set(groups.split('\n').map((line) => line.split(':', 1)[0]!))
  return new SystemdManager({
    scope,
    unitDir: scope === 'user' ? join(config, 'systemd', 'user') : '/etc/systemd/system',
    version: Number(major),
    ask,
    deviceGroups: DEVICE_GROUPS.filter((name) => names.has(name)),
    isLingering: linger?.trim() === 'yes',
    hasAccount: passwd !== undefined,
  })
}
