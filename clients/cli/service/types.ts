/** What a service of this machine is, and the port to what runs it: systemd, launchd, Windows' task scheduler. */

export const SERVICE_ROLES = ['up', 'node', 'coordinator', 'worker'] as const
export type ServiceRole = (typeof SERVICE_ROLES)[number]

/** `user`: of one account, without rights over the machine; `system`: of the machine, under an account of its own. */
export type ServiceScope = 'user' | 'system'

export interface ServiceSpec {
  /** `skein`, or `skein-NAME` for a further one. */
  readonly name: string
  readonly role: ServiceRole
  readonly scope: ServiceScope
  readonly dataDir: string
  /** Absolute path of Node, then its arguments; no secret is in them. */
  readonly command: readonly string[]
  /** Of Skein. */
  readonly version: string
  /** Account that a system service runs as. */
  readonly account: string | undefined
  /** 0 to 19: how much it gives way to other programs. */
  readonly nice: number
  readonly memoryMaxBytes: number | undefined
}

export interface PlannedFile {
  readonly path: string
  readonly content: string
  readonly encoding: 'utf8' | 'utf16'
}

export interface PlannedCommand {
  readonly argv: readonly string[]
  /** It is no failure when this one fails: what it undoes may not be there. */
  readonly mayFail?: boolean
}

/** Everything that installing or removing a service does, so that it can be shown before it is done. */
export interface ServicePlan {
  /** Run before files are written. */
  readonly before: readonly PlannedCommand[]
  readonly files: readonly PlannedFile[]
  readonly removed: readonly string[]
  readonly after: readonly PlannedCommand[]
  /** For people: what it means, and how to undo it. */
  readonly notes: readonly string[]
}

/** What the manager tells of a service. */
export interface ManagedState {
  readonly isRunning: boolean
  /** In the manager's own words, such as `active (running)`. */
  readonly state: string
  readonly pid: number | undefined
  readonly startsByItself: boolean | undefined
  /** How it last ended, when it has. */
  readonly lastExitCode: number | undefined
}

export interface ServiceManager {
  /** Where the description of the service `name` is, or would be. */
  path(name: string): string
  install(spec: ServiceSpec): ServicePlan
  uninstall(name: string): ServicePlan
  /** `undefined` when the manager does not answer. */
  state(name: string): Promise<ManagedState | undefined>
  /** How to see what the service wrote besides its log. */
  readonly outputCommand: (name: string) => string | undefined
}
