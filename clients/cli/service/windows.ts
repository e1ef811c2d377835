/** Services under Windows: a task of the task scheduler, which needs no program of our own between Skein and the system. */
import { SkeinError } from '../../../mesh/protocol/index.ts'
import { encodeMark } from './mark.ts'
import type { Ask } from './systemd.ts'
import type { ManagedState, ServiceManager, ServicePlan, ServiceScope, ServiceSpec } from './types.ts'
import { xmlText } from './xml.ts'

export interface WindowsInit {
  readonly scope: ServiceScope
  /** Folder where the descriptions of tasks are kept. */
  readonly taskDir: string
  /** `DOMAIN\name` of who is logged in. */
  readonly user: string
  readonly ask: Ask
}

/** NT AUTHORITY\LOCAL SERVICE: few rights here, none elsewhere. */
const LOCAL_SERVICE = 'S-1-5-19'
/** Of the scheduler, 0 to 10: below normal, for a process that gives way. */
const PRIORITY_LOW = 7
const PRIORITY_NORMAL = 5

const taskName = (name: string): string => `\\Skein\\${name}`

export class WindowsManager implements ServiceManager {
  readonly #init: WindowsInit

  constructor(init: WindowsInit) {
    this.#init = init
  }

  path(name: string): string {
    return `${this.#init.taskDir}\\${name}.xml`
  }

  readonly outputCommand = (): undefined => undefined

  install(spec: ServiceSpec): ServicePlan {
    const path = this.path(spec.name)
    const task = taskName(spec.name)
    return {
      before: [],
      files: [{ path, content: taskXml(spec, this.#init.user), encoding: 'utf16' }],
      removed: [],
      after: [
        { argv: ['schtasks', '/End', '/TN', task], mayFail: true },
        { argv: ['schtasks', '/Create', '/F', '/TN', task, '/XML', path] },
        { argv: ['schtasks', '/Run', '/TN', task] },
      ],
      notes: [
        'Windows ends a task at once: answers that run there are made again elsewhere. To spare them: skein drain NAME first',
        ...(this.#init.scope === 'user'
          ? ['it runs while you are logged in; to have it run from boot on, use --system']
          : []),
      ],
    }
  }

  uninstall(name: string): ServicePlan {
    const task = taskName(name)
    return {
      before: [
        { argv: ['schtasks', '/End', '/TN', task], mayFail: true },
        { argv: ['schtasks', '/Delete', '/F', '/TN', task], mayFail: true },
      ],
      files: [],
      removed: [this.path(name)],
      after: [],
      notes: [],
    }
  }

  /** The scheduler tells states in the language of the system: only whether it knows the task is taken from it. */
  async state(name: string): Promise<ManagedState | undefined> {
    const xml = await this.#init.ask('schtasks', '/Query', '/XML', '/TN', taskName(name))
    if (xml === undefined) return undefined
    return { isRunning: false, state: 'registered', pid: undefined, startsByItself: true, lastExitCode: undefined }
  }
}

/** One argument as Microsoft's C runtime takes a command line apart. */
export function windowsWord(text: string): string {
  // the scheduler replaces %VARIABLES% and knows no way to write a percent sign
  if (text.includes('%'))
    throw new SkeinError('CONFIG_INVALID', `the task scheduler of Windows takes no percent sign: ${text}`)
  if (text !== '' && !/[\s"]/.test(text)) return text
  const escaped = text.replaceAll(/(\\*)"/g, '$1$1\\"').replace(/(\\+)$/, '$1$1')
  return `"${escaped}"`
}

export function taskXml(spec: ServiceSpec, user: string): string {
  const { role, scope, dataDir, version, command, nice } = spec
  const isSystem = scope === 'system'
  const principal = isSystem
    ? `<UserId>${LOCAL_SERVICE}</UserId>`
    : `<UserId>${xmlText(user)}</UserId>\r\n      <LogonType>InteractiveToken</LogonType>`
  return [
    '<?xml version="1.0" encoding="UTF-16"?>',
    `<!-- ${encodeMark({ role, data: dataDir, version })} -->`,
    '<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">',
    '  <RegistrationInfo>',
    `    <Description>Skein (${role})</Description>`,
    '  </RegistrationInfo>',
    '  <Triggers>',
    isSystem
      ? '    <BootTrigger><Enabled>true</Enabled></BootTrigger>'
      : `    <LogonTrigger><Enabled>true</Enabled><UserId>${xmlText(user)}</UserId></LogonTrigger>`,
    '  </Triggers>',
    '  <Principals>',
    '    <Principal id="Author">',
    `      ${principal}`,
    '      <RunLevel>LeastPrivilege</RunLevel>',
    '    </Principal>',
    '  </Principals>',
    '  <Settings>',
    '    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>',
    '    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>',
    '    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>',
    '    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>',
    `    <Priority>${nice > 0 ? PRIORITY_LOW : PRIORITY_NORMAL}</Priority>`,
    '    <RestartOnFailure><Interval>PT1M</Interval><Count>255</Count></RestartOnFailure>',
    '  </Settings>',
    '  <Actions Context="Author">',
    '    <Exec>',
    // without a window
    '      <Command>conhost.exe</Command>',
    `      <Arguments>${xmlText(['--headless', ...command].map(windowsWord).join(' '))}</Arguments>`,
    `      <WorkingDirectory>${xmlText(dataDir)}</WorkingDirectory>`,
    '    </Exec>',
    '  </Actions>',
    '</Task>',
    '',
  ].join('\r\n')
}
