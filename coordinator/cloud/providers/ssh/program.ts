/**
 * The system's own `ssh`, run without a shell. Of its owner's settings it takes known hosts and keys alone: a host whose key is not
 * known, or another one, is never spoken to, nothing is forwarded, and nobody is asked for a password.
 */
import { execFile } from 'node:child_process'
import { SkeinError } from '../../../../mesh/protocol/index.ts'
import type { Clock } from '../../../../mesh/runtime/index.ts'
import { bounded, printable, refused, unavailable, type Environment } from '../bounds.ts'
import type { SshMachine, SshSettings } from './settings.ts'

const CONNECT_SECONDS = 10
const OUTPUT_BYTES_MAX = 64 * 1024
const AGAIN_SECONDS = 15
const SSH_PORT = 22
/** Exit code of `ssh` for what went wrong before the command ran, or with the connection. */
const SSH_FAILED = 255
/** All of the process's variables that it needs; keys of others are in there too. */
const VARIABLES = ['PATH', 'HOME', 'USER', 'LOGNAME', 'SSH_AUTH_SOCK', 'SystemRoot', 'USERPROFILE']

/** Nobody answers there at all, which a machine that sleeps looks like. A refused connection is one that is up. */
const OFF = /timed out|No route to host|Host is down/i
const REFUSED =
  /Host key verification failed|REMOTE HOST IDENTIFICATION HAS CHANGED|Permission denied|no matching|Bad configuration|not accessible|invalid format/i
/** Cause of the error of a machine that does not answer. */
const OFF_CAUSE: unknown = Symbol('off')

/** True of the error that `askSsh` throws where nobody answers at all. */
export const isOff = (thrown: unknown): boolean => thrown instanceof SkeinError && thrown.cause === OFF_CAUSE

export interface RunResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}
/** Runs a program with `input` on its standard input. Rejects when it cannot be started, or `signal` aborts. */
export type RunProgram = (
  argv: readonly string[],
  input: string,
  environment: Environment,
  signal: AbortSignal,
) => Promise<RunResult>

export const runProgram: RunProgram = ([file, ...args], input, environment, signal) =>
  new Promise((resolve, reject) => {
    const options = {
      signal,
      env: { ...environment },
      maxBuffer: OUTPUT_BYTES_MAX,
      encoding: 'utf8',
      windowsHide: true,
      killSignal: 'SIGKILL',
    } as const
    const child = execFile(file!, args, options, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr })
      else if (typeof error.code === 'number') resolve({ code: error.code, stdout, stderr })
      else reject(error)
    })
    // one that ends early does not read all of it; how it ended is told by its code
    child.stdin!.on('error', () => {})
    child.stdin!.end(input)
  })

/** The command line for one machine. */
export function sshCommand(
  { knownHosts, identity }: SshSettings,
  { host, port = SSH_PORT, user }: SshMachine,
): string[] {
  const options = {
    BatchMode: 'yes',
    StrictHostKeyChecking: 'yes',
    UpdateHostKeys: 'no',
    PasswordAuthentication: 'no',
    KbdInteractiveAuthentication: 'no',
    ForwardAgent: 'no',
    ClearAllForwardings: 'yes',
    PermitLocalCommand: 'no',
    ControlMaster: 'no',
    ControlPath: 'none',
    ConnectTimeout: String(CONNECT_SECONDS),
    ServerAliveInterval: '5',
    ServerAliveCountMax: '3',
    ...(knownHosts !== undefined && { UserKnownHostsFile: quotedPath(knownHosts), GlobalKnownHostsFile: 'none' }),
    ...(identity !== undefined && { IdentitiesOnly: 'yes', IdentityFile: quotedPath(identity) }),
  }
  const given = Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`])
  // without the owner's configuration of ssh, in which another program may stand for any host
  return ['ssh', '-F', 'none', '-T', ...given, '-p', String(port), '-l', user, '--', host, 'sh']
}

/** As `ssh` reads a path: it may have several, and expands `%`. */
const quotedPath = (path: string): string => `"${path.replaceAll('%', '%%')}"`

export interface AskSshInit {
  readonly settings: SshSettings
  readonly machine: SshMachine
  readonly script: string
  readonly environment: Environment
  readonly run: RunProgram
  readonly clock: Clock
}

/**
 * Runs `script` there; what it printed.
 *
 * @throws SkeinError CLOUD_UNAVAILABLE when the machine cannot be reached or the connection broke; CLOUD_REFUSED for another host key, a key that is not taken, or a script that cannot run.
 */
export async function askSsh(init: AskSshInit, signal: AbortSignal): Promise<string> {
  const { settings, machine, script, environment, run, clock } = init
  const kept = Object.fromEntries(
    VARIABLES.map((name) => [name, environment[name]]).filter(([, value]) => value !== undefined),
  )
  const where = `ssh ${machine.host}`
  const { code, stdout, stderr } = await bounded(clock, where, signal, async (both) => {
    try {
      return await run(sshCommand(settings, machine), script, kept as Environment, both)
    } catch (thrown) {
      both.throwIfAborted()
      throw refused(`${where}: the program ssh cannot be run (${printable((thrown as Error).message)})`, thrown)
    }
  })
  if (code === 0) return stdout
  const said = `${where}: ${printable(stderr.trim() || `it ended with ${code}`)}`
  if (code !== SSH_FAILED) throw refused(said)
  if (REFUSED.test(stderr)) throw refused(said)
  throw unavailable(said, AGAIN_SECONDS, OFF.test(stderr) ? OFF_CAUSE : undefined)
}
