/** What `skein up` and its kin say while they run: for people on stdout and stderr, for scripts one JSON event a line. */
import type { SkeinError } from '../../mesh/protocol/index.ts'
import type { NodeAgent } from '../../node/index.ts'
import type { Output } from './output.ts'
import type { ServeOptions } from './serve-options.ts'
import { BUNDLED_ONNX_MODELS } from '../../node/models/store/index.ts'
import type { Running } from './running.ts'

/** How this Skein is called from where it was started. */
const COMMAND = import.meta.url.includes('/node_modules/') ? 'skein' : 'bin/skein'
/** Answers well on a laptop without a GPU; 0.8 GB. */
const LARGER_MODEL = 'hf:bartowski/Llama-3.2-1B-Instruct-GGUF'
/** Devices that the invite of the ready event lets in: a household, within a day. */
const READY_INVITE_USES = 16

/**
 * The first event: everything is up.
 *
 * @param isListed whether all models of its node are listed.
 */
export async function announceReady(
  running: Running,
  options: ServeOptions,
  output: Output,
  isListed: boolean,
): Promise<void> {
  const { host, gateway, agent } = running
  const { peerId, certificate } = host.self
  const invite = host.authority ? (await host.invite({ uses: READY_INVITE_USES })).text : undefined
  const http = gateway?.url
  // a page without a port is none
  const page = running.page?.url || undefined
  if (output.json) {
    const { name, roles } = certificate
    output.value({
      event: 'ready',
      http,
      ...(page !== undefined && { page }),
      ...(gateway?.ollamaUrl !== undefined && { ollama: gateway.ollamaUrl }),
      peerId,
      name,
      roles,
      invite,
      meshId: host.meshId,
      addresses: host.addresses(),
      ...(options.bundledModel && { bundledModel: true }),
      ...(!isListed && { isReading: true }),
    })
    return
  }
  output.line(
    `${output.paint('bold', 'Skein is up.')}  ${certificate.name}, ${certificate.roles.join(' and ')} of mesh ${host.meshId.slice(-8)}`,
  )
  const shown = http ?? page
  if (shown !== undefined) output.line(`  Page     ${shown}   (open it in a browser)`)
  if (http !== undefined) {
    output.line(`  API      ${http}/v1   (OpenAI-compatible)`)
    if (gateway?.ollamaUrl !== undefined) output.line(`  Ollama   ${gateway.ollamaUrl}`)
    if (running.apiKey !== undefined) output.line(`  Key      ${running.apiKey}`)
  }
  const isBesideServer = options.worker !== undefined
  const mayAnswer =
    agent === undefined || isBesideServer || options.model.some((path) => !BUNDLED_ONNX_MODELS.includes(path))
  if (http !== undefined && mayAnswer) output.line(`  Try      ${COMMAND} chat`)
  if (options.bundledModel)
    output.line(
      `  Model    skein-tiny, the small one that comes with Skein; a larger one: ${COMMAND} pull ${LARGER_MODEL}`,
    )
  else if (!mayAnswer)
    output.line(
      http === undefined
        ? `  Models   none that answers: ${COMMAND} pull one, or start with --model PATH to a GGUF file`
        : `  Models   none that answers yet: ${COMMAND} pull one, start with --model PATH, or let a node join that has one`,
    )
  if (!isListed)
    output.line('  Models   are still being read for their digests, as each is once; told when they can be asked')
  if (invite !== undefined) output.line(`  Join     ${COMMAND} node --join ${invite} --model PATH`)
}

/** Reports members as they come and go, and orders for replicas, until the process stops. */
export function reportEvents(running: Running, output: Output): void {
  const { host, coordinator } = running
  coordinator?.service.watchReplicas((order) => {
    const { digest, node, state, cause, reason, message } = order
    const value = { event: 'replica', state, digest, node: node.name, cause, reason, ...(message && { message }) }
    const why = message === undefined ? '' : `: ${message}`
    event(output, value, state === 'sent' ? `  replica ordered of ${node.name}: ${reason}` : `  replica ${state}${why}`)
  })
  host.watch({
    connected: ({ peerId, certificate }) =>
      event(
        output,
        { event: 'member', state: 'connected', peerId, name: certificate.name },
        `+ ${certificate.name} is connected`,
      ),
    disconnected: ({ peerId, certificate }) =>
      event(
        output,
        { event: 'member', state: 'disconnected', peerId, name: certificate.name },
        `- ${certificate.name} is gone`,
      ),
  })
}

/** Reports what became of each model since the last call. To be called whenever the agent says that something changed. */
export function createModelReport(agent: () => NodeAgent | undefined, output: Output): () => void {
  const told = new Map<string, string>()
  const tell = (name: string, state: string, error?: SkeinError): void => {
    if (told.get(name) === state) return
    told.set(name, state)
    const details = error && { code: error.code, message: error.message }
    const value = { event: 'model', name, state, ...details }
    // where a model lies that nobody has asked for is nothing to tell people
    if (state === 'disk' && !output.json) return
    event(output, value, error ? `! ${error.message}` : `  ${name} is ${state}`)
  }
  return () => {
    for (const { capability, failure } of agent()?.models() ?? []) {
      const { residency, speed, aliases } = capability
      tell(aliases[0]!, failure ? 'failed' : residency === 'resident' && speed ? 'measured' : residency, failure)
    }
    for (const { path, error } of agent()?.problems() ?? []) tell(path, 'unusable', error)
  }
}

/** Reports why the owner's policy keeps the node from serving, and that it serves again; and what is wrong with its file. */
export function createPolicyReport(agent: () => NodeAgent | undefined, output: Output): () => void {
  let told: string | undefined
  let toldProblem: string | undefined
  return () => {
    const { reason, problem } = agent()?.status().policy ?? {}
    if (reason !== told) {
      told = reason
      const value = { event: 'policy', state: reason === undefined ? 'serving' : 'paused', ...(reason && { reason }) }
      event(output, value, reason === undefined ? '  serves again' : `  paused: ${reason}`)
    }
    if (problem?.message !== toldProblem) {
      toldProblem = problem?.message
      const details = problem && { code: problem.code, message: problem.message }
      const value = { event: 'policy', state: problem ? 'invalid' : 'valid', ...details }
      event(output, value, problem ? `! ${problem.message}` : '  the policy has no error any more')
    }
  }
}

function event(output: Output, value: object, text: string): void {
  if (output.json) output.value(value)
  else output.note(text)
}
