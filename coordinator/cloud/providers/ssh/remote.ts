/**
 * What is run on a machine of the owner's: one script of POSIX shell, sent over the standard input of `sh`, so that nothing of it is on
 * a command line there or here, and no login shell reads it. It starts and stops units of the service manager under a lock,
 * and keeps which order they were started for: `lease` (token, mesh, start), and in `tokens` every token that was ever used.
 */
import type { LaunchOrder, MachineState } from '../../provider.ts'
import { refused, unavailable } from '../bounds.ts'
import { shellWord } from '../user-data.ts'
import type { SshMachine } from './settings.ts'

const FOLDER = '.skein-worker'
const VLLM = 'skein-vllm.service'
const WORKER = 'skein-worker.service'
/** A unit that was told to start a moment ago says `inactive` still. */
const GRACE_SECONDS = 15
/** What stands in the worker's arguments: split at blanks and not quoted, hence nothing that would need to be. */
const PLAIN = /^[A-Za-z0-9][A-Za-z0-9._:/@=+-]*$/

const SCRIPT = String.raw`
set -eu
umask 077
say() { printf 'skein-answer %s\n' "$*"; }
activity() { $systemctl is-active "$1" 2>/dev/null || true; }
look() {
  [ -s "$folder/lease" ] || { say none; return 0; }
  read -r held_token held_mesh since <"$folder/lease"
  is_ended=no
  [ ! -e "$folder/ended" ] || is_ended=yes
  say lease "$held_token" "$held_mesh" "$since" "$(($(date +%s) - since))" "$is_ended" "$(activity "$vllm")" "$(activity "$worker")"
}
is_busy() {
  for unit in "$vllm" "$worker"; do
    case $(activity "$unit") in inactive | failed | unknown | '') ;; *) return 0 ;; esac
  done
  return 1
}
is_held_by() {
  [ -s "$folder/lease" ] || return 1
  read -r held_token held_mesh since <"$folder/lease"
  [ "$held_token" = "$1" ]
}
is_foreign() { is_held_by "$1" && [ "$held_mesh" != "$mesh" ]; }
launch() {
  if [ -e "$folder/tokens/$1" ]; then
    if is_held_by "$1" && ! is_foreign "$1"; then look; else say used; fi
    return 0
  fi
  if is_busy; then say busy; return 0; fi
  mkdir -p "$folder/tokens"
  ls -t "$folder/tokens" | tail -n +500 | while read -r old; do rm -f "$folder/tokens/$old"; done
  printf 'SKEIN_WORKER="%s"\n' "$2" >"$folder/worker.env.new"
  mv "$folder/worker.env.new" "$folder/worker.env"
  rm -f "$folder/ended"
  printf '%s %s %s\n' "$1" "$mesh" "$(date +%s)" >"$folder/lease.new"
  mv "$folder/lease.new" "$folder/lease"
  : >"$folder/tokens/$1"
  if ! said=$($systemctl start --no-block "$vllm" "$worker" 2>&1); then
    rm -f "$folder/lease" "$folder/worker.env" "$folder/tokens/$1"
    say failed "$(printf %s "$said" | tr -c '[:print:]' ' ' | cut -c 1-200)"
    return 0
  fi
  look
}
drain() {
  if is_foreign "$1"; then say foreign; return 0; fi
  if is_held_by "$1"; then $systemctl kill --signal=TERM "$worker" >/dev/null 2>&1 || true; fi
  say done
}
end() {
  if is_foreign "$1"; then say foreign; return 0; fi
  if is_held_by "$1"; then
    : >"$folder/ended"
    rm -f "$folder/worker.env"
    $systemctl stop --no-block "$vllm" "$worker" >/dev/null
    [ "$afterwards" != poweroff ] || $systemctl poweroff >/dev/null
  fi
  say done
}
run() {
  folder=$1 mesh=$2 vllm=$3 worker=$4 systemctl=$5 afterwards=$6 verb=$7
  shift 7
  case $folder in /*) ;; *) folder=$HOME/$folder ;; esac
  mkdir -p "$folder"
  exec 9>"$folder/lock"
  flock -w 10 9 || { say locked; return 0; }
  "$verb" "$@"
}
`

export type Verb = 'look' | 'launch' | 'drain' | 'end'

/** The text that `sh` is given. Every value is one quoted word, whatever is in it. */
export function remoteScript(machine: SshMachine, mesh: string, verb: Verb, values: readonly string[] = []): string {
  const { folder = FOLDER, vllm = VLLM, worker = WORKER, manager = 'user', afterwards = 'nothing' } = machine
  const systemctl = manager === 'user' ? 'systemctl --user' : 'sudo -n systemctl'
  const words = [folder, mesh, vllm, worker, systemctl, afterwards, verb, ...values]
  // what is run must not read the script that follows it
  return `${SCRIPT}run ${words.map(shellWord).join(' ')} </dev/null\n`
}

/**
 * Arguments of `skein worker`.
 *
 * @param models what the machine's vLLM calls its models, one for each that it stands in for.
 * @throws SkeinError CLOUD_REFUSED for too few of them, and for a value that could not stand among the arguments unquoted.
 */
export function workerArguments(
  { invite, name, aloneMinutes, serves }: LaunchOrder,
  models: readonly string[],
): string {
  if (models.length < serves.length)
    throw refused(`the flavour has ${models.length} names of models, and ${serves.length} are to be stood in for`)
  const odd = [invite, ...serves].find((value) => !PLAIN.test(value))
  if (odd !== undefined)
    throw refused('an invite or a name that the model stands in for has characters that are not taken here')
  const flags = [`--join ${invite}`, `--name ${name}`, `--alone-minutes ${aloneMinutes}`]
  return [...flags, ...serves.map((alias, index) => `--serves ${models[index]}=${alias}`)].join(' ')
}

/** What a machine says: nothing runs for a lease · a lease · the order was carried out · it cannot be. */
export type RemoteAnswer =
  | { readonly kind: 'none' | 'done' | 'used' | 'busy' }
  | {
      readonly kind: 'lease'
      readonly token: string
      readonly mesh: string
      readonly sinceMs: number
      readonly state: MachineState
    }

const ANSWER = /^skein-answer (\w+)(?: (.*))?$/
const LEASE = /^([A-Za-z0-9-]{1,64}) (\S{1,128}) (\d{1,12}) (-?\d{1,12}) (yes|no) ([a-z-]+) ([a-z-]+)$/

/**
 * The last answer in what was printed; other lines come from login scripts.
 *
 * @throws SkeinError CLOUD_REFUSED when the units could not be started, CLOUD_UNAVAILABLE for what is no answer.
 */
export function readRemote(printed: string, where: string): RemoteAnswer {
  const line = printed.split('\n').findLast((one) => ANSWER.test(one))
  const [, kind, rest = ''] = ANSWER.exec(line ?? '') ?? []
  if (kind === 'none' || kind === 'done' || kind === 'used' || kind === 'busy') return { kind }
  if (kind === 'failed') throw refused(`${where}: the units cannot be started (${rest.slice(0, 200)})`)
  if (kind === 'foreign') throw refused(`${where}: what runs there is of another mesh`)
  if (kind === 'locked') throw unavailable(`${where}: another one is at it`)
  const [, token, mesh, since, age, ended, vllm, worker] = LEASE.exec(kind === 'lease' ? rest : '') ?? []
  if (token === undefined || mesh === undefined) throw unavailable(`${where}: an answer that is none`)
  const state = stateOf([vllm!, worker!], { isEnded: ended === 'yes', ageSeconds: Number(age) })
  return { kind: 'lease', token, mesh, sinceMs: Number(since) * 1000, state }
}

function stateOf(
  units: readonly string[],
  lease: { readonly isEnded: boolean; readonly ageSeconds: number },
): MachineState {
  const runs = units.some((unit) => !['inactive', 'failed', 'unknown'].includes(unit))
  if (!runs)
    return !lease.isEnded && !units.includes('failed') && lease.ageSeconds < GRACE_SECONDS ? 'starting' : 'gone'
  if (lease.isEnded || units.includes('deactivating')) return 'stopping'
  return units.includes('activating') ? 'starting' : 'running'
}
