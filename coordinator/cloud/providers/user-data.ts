/**
 * What a rented machine is told when it is made: user data of cloud-init that has vLLM and beside it `skein worker` run, both
 * from images by digest, and the dead-man switch. Everybody who can ask the machine's metadata can read it, also later:
 * the one secret in it is an invite of one use.
 *
 * The worker has a dead-man switch, which counts through its restarts. That does not help where no worker ever comes up, or none
 * is left: so a timer of the machine's own counts the minutes without one, from the boot on, and powers the machine off
 * after as many. It counts ticks and no clock, so that a clock that is set right after the boot ends nothing.
 */
import { SkeinError } from '../../../mesh/protocol/index.ts'
import type { LaunchOrder } from '../provider.ts'
import type { WorkerSettings } from './worker-settings.ts'

/** EC2 takes no more, before base64. */
const USER_DATA_BYTES_MAX = 16_384
const VLLM_PORT = 8000
/** The account in the container of the worker, and whose the folders are that it writes to. */
const ACCOUNT = '1000:1000'
/** Made by the worker's own switch, once that counts (`ALONE_FILE` of node/worker). */
const SWITCH_FILE = '/var/lib/skein/worker/alone.json'

/** Who tells the machine that it will be taken back. */
export type Notice = 'aws' | 'scaleway'

/** One word of a POSIX shell, whatever is in it. */
export const shellWord = (text: string): string => `'${text.replaceAll("'", String.raw`'\''`)}'`

const script = (...lines: readonly string[]): string => ['#!/bin/sh', 'set -eu', ...lines, ''].join('\n')
const command = (...words: readonly string[]): string => `exec ${words.join(' \\\n  ')}`

/** What vLLM calls the model, a name for each that it stands in for: a worker tells them apart by that name. */
const namesOf = (model: string, count: number): readonly string[] =>
  Array.from({ length: count }, (_, index) => (index === 0 ? model : `${model}:${index + 1}`))

const vllmScript = ({ vllm, model, arguments: more = [] }: WorkerSettings, names: readonly string[]): string =>
  script(
    command(
      '/usr/bin/docker run --rm --name skein-vllm --gpus all --ipc host --network host',
      '--volume /var/lib/skein/models:/root/.cache/huggingface',
      shellWord(vllm),
      `--host 127.0.0.1 --port ${VLLM_PORT}`,
      `--model ${shellWord(model)}`,
      ...(names.length > 1 ? [`--served-model-name ${names.map(shellWord).join(' ')}`] : []),
      ...more.map(shellWord),
    ),
  )

const workerScript = (
  { skein }: WorkerSettings,
  names: readonly string[],
  order: LaunchOrder,
  notice: Notice,
): string =>
  script(
    command(
      `/usr/bin/docker run --rm --name skein-worker --network host --user ${ACCOUNT}`,
      '--volume /var/lib/skein/worker:/data --volume /run/skein:/run/skein',
      shellWord(skein),
      'worker --data /data',
      `--join ${shellWord(order.invite)}`,
      `--name ${shellWord(order.name)}`,
      `--vllm http://127.0.0.1:${VLLM_PORT}`,
      ...order.serves.map((alias, index) => `--serves ${shellWord(`${names[index]}=${alias}`)}`),
      `--notice ${notice}`,
      `--alone-minutes ${order.aloneMinutes}`,
      "--power-off 'touch /run/skein/power-off'",
    ),
  )

const aloneScript = (aloneMinutes: number): string =>
  script(
    'silent=0',
    `if ! { systemctl is-active --quiet skein-worker.service && [ -e ${SWITCH_FILE} ]; }; then`,
    '  [ ! -s /run/skein-alone ] || read -r silent </run/skein-alone',
    '  silent=$((silent + 1))',
    'fi',
    'echo "$silent" >/run/skein-alone',
    `[ "$silent" -lt ${aloneMinutes} ] || exec systemctl poweroff`,
  )

const unit = (lines: Readonly<Record<string, readonly string[]>>): string =>
  Object.entries(lines)
    .map(([section, members]) => `[${section}]\n${members.join('\n')}\n`)
    .join('\n')

const container = (name: string, description: string, after: string, more: readonly string[]): string =>
  unit({
    Unit: [
      `Description=${description}`,
      `After=docker.service network-online.target ${after}`.trimEnd(),
      'Wants=network-online.target',
      'Requires=docker.service',
    ],
    Service: [
      `ExecStartPre=-/usr/bin/docker rm --force ${name}`,
      `ExecStart=/opt/skein/${name}.sh`,
      `ExecStop=-/usr/bin/docker stop --time 120 ${name}`,
      'RestartSec=10',
      'TimeoutStopSec=150',
      ...more,
    ],
    Install: ['WantedBy=multi-user.target'],
  })

const [uid, gid] = ACCOUNT.split(':')
const WORKER_FOLDERS = `ExecStartPre=/usr/bin/install -d -o ${uid} -g ${gid} /run/skein /var/lib/skein/worker`

const ALONE_TIMER = unit({
  Timer: ['OnBootSec=1min', 'OnUnitActiveSec=1min', 'AccuracySec=1s'],
  Install: ['WantedBy=timers.target'],
})
const ALONE_SERVICE = unit({ Service: ['Type=oneshot', 'ExecStart=/opt/skein/alone.sh'] })
const POWER_OFF_PATH = unit({
  Path: ['PathExists=/run/skein/power-off'],
  Install: ['WantedBy=multi-user.target'],
})
const POWER_OFF_SERVICE = unit({ Service: ['Type=oneshot', 'ExecStart=/usr/bin/systemctl poweroff'] })

/** The switch comes first: what fails after it must not leave a machine that runs for nothing. */
const COMMANDS: readonly (readonly string[])[] = [
  ['systemctl', 'daemon-reload'],
  ['systemctl', 'enable', '--now', 'skein-alone.timer', 'skein-power-off.path'],
  ['mkdir', '-p', '/var/lib/skein/models'],
  // a volume that brings models is mounted where they are looked for; without one the folder is used
  ['sh', '-c', 'mount LABEL=skein-models /var/lib/skein/models || true'],
  ['systemctl', 'enable', '--now', '--no-block', 'skein-vllm.service', 'skein-worker.service'],
]

/**
 * User data for the machine of `order`: a cloud-config whose values are JSON, which is YAML, so that nothing in them can
 * become a key. The same order gives the same text, which idempotent launches rest upon.
 *
 * @throws SkeinError CLOUD_REFUSED when it is larger than clouds take.
 */
export function userData(worker: WorkerSettings, order: LaunchOrder, notice: Notice): string {
  const file = (path: string, permissions: string, content: string): object => ({ path, permissions, content })
  const system = (name: string, content: string): object => file(`/etc/systemd/system/${name}`, '0644', content)
  const names = namesOf(worker.model, order.serves.length)
  const config = {
    write_files: [
      file('/opt/skein/alone.sh', '0755', aloneScript(order.aloneMinutes)),
      file('/opt/skein/skein-vllm.sh', '0755', vllmScript(worker, names)),
      file('/opt/skein/skein-worker.sh', '0700', workerScript(worker, names, order, notice)),
      system('skein-alone.timer', ALONE_TIMER),
      system('skein-alone.service', ALONE_SERVICE),
      system('skein-power-off.path', POWER_OFF_PATH),
      system('skein-power-off.service', POWER_OFF_SERVICE),
      system('skein-vllm.service', container('skein-vllm', 'vLLM for Skein', '', ['Restart=always'])),
      // a worker that was drained ends well and stays ended; the switch then ends the machine
      system(
        'skein-worker.service',
        container('skein-worker', 'Skein worker', 'skein-vllm.service', [WORKER_FOLDERS, 'Restart=on-failure']),
      ),
    ],
    runcmd: COMMANDS,
  }
  const text = `#cloud-config\n${JSON.stringify(config, undefined, 1)}\n`
  if (Buffer.byteLength(text) > USER_DATA_BYTES_MAX)
    throw new SkeinError(
      'CLOUD_REFUSED',
      `the user data of a machine would have ${Buffer.byteLength(text)} bytes, and ${USER_DATA_BYTES_MAX} are allowed: fewer arguments of vLLM, or shorter ones`,
    )
  return text
}
