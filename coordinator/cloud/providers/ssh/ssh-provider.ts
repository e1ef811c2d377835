/**
 * The owner's own machines, over ssh: vLLM and its worker are units of the machine's service manager, which are started for a lease
 * and stopped at its end. A machine holds one lease at a time, and remembers the tokens that it was launched for; a
 * machine's id is its name with the token, so that nobody ends a later lease by the id of an earlier one.
 */
import type { Clock } from '../../../../mesh/runtime/index.ts'
import { checkOrder, flavourOf, noCapacity, refused, type Environment } from '../bounds.ts'
import type { LaunchOrder, Machine, Provider, Quote } from '../../provider.ts'
import { microsOf } from '../worker-settings.ts'
import { askSsh, isOff, runProgram, type RunProgram } from './program.ts'
import { readRemote, remoteScript, workerArguments, type RemoteAnswer, type Verb } from './remote.ts'
import type { SshFlavour, SshMachine, SshSettings } from './settings.ts'
import { wake } from './wake.ts'

const STEP_MS = 1000
const MACHINE_ID = /^([a-z0-9][a-z0-9-]{0,39})\/([A-Za-z0-9-]{1,64})$/
const MESH = /^[A-Za-z0-9._:-]{1,128}$/

export interface SshComponents {
  readonly clock: Clock
  readonly environment: Environment
  /** Id of the mesh: written into each lease. */
  readonly mesh: string
  /** Runs `ssh`. The system's own when absent. */
  readonly run?: RunProgram
}

export class SshProvider implements Provider {
  /** What a machine says of itself is so. */
  readonly settleMs = 0
  readonly #settings: SshSettings
  readonly #flavours: ReadonlyMap<string, SshFlavour>
  readonly #clock: Clock
  readonly #environment: Environment
  readonly #mesh: string
  readonly #run: RunProgram

  /** @throws SkeinError CLOUD_REFUSED for a mesh whose id could not stand in a lease. */
  constructor(settings: SshSettings, flavours: ReadonlyMap<string, SshFlavour>, components: SshComponents) {
    const { clock, environment, mesh, run = runProgram } = components
    if (!MESH.test(mesh)) throw refused('the id of the mesh has characters that no lease takes')
    this.#settings = settings
    this.#flavours = flavours
    this.#clock = clock
    this.#environment = environment
    this.#mesh = mesh
    this.#run = run
  }

  async quote(flavour: string, signal: AbortSignal): Promise<Quote> {
    signal.throwIfAborted()
    const { pricePerHour = 0, readyMinutes } = flavourOf(this.#flavours, flavour)
    return {
      microsPerHour: microsOf(pricePerHour),
      billedStepMs: STEP_MS,
      billedLeastMs: 0,
      readyMs: Math.ceil(readyMinutes * 60_000),
      isSpot: false,
    }
  }

  async launch(order: LaunchOrder, signal: AbortSignal): Promise<Machine> {
    signal.throwIfAborted()
    checkOrder(order)
    const { machine: name, models } = flavourOf(this.#flavours, order.flavour)
    const machine = this.#settings.machines[name]
    if (machine === undefined) throw refused(`this provider has no machine ${name}`)
    const values = [order.token, workerArguments(order, models)]
    if (machine.wake) await wake(machine.wake)
    const answer = await this.#ask(machine, 'launch', signal, values)
    if (answer.kind === 'busy') throw noCapacity(`ssh ${machine.host}: it runs something already`)
    if (answer.kind === 'lease') return machineOf(name, answer)
    return { id: `${name}/${order.token}`, token: order.token, state: 'gone', launchedAtMs: 0 }
  }

  async get(machineId: string, signal: AbortSignal): Promise<Machine | undefined> {
    signal.throwIfAborted()
    const [name] = this.#placeOf(machineId) ?? []
    const machine = name === undefined ? undefined : await this.#look(name, signal)
    return machine?.id === machineId ? machine : undefined
  }

  async list(signal: AbortSignal): Promise<readonly Machine[]> {
    signal.throwIfAborted()
    const looked = await Promise.all(Object.keys(this.#settings.machines).map((name) => this.#look(name, signal)))
    return looked.filter((machine) => machine !== undefined && machine.state !== 'gone') as Machine[]
  }

  async drain(machineId: string, signal: AbortSignal): Promise<void> {
    await this.#tell(machineId, 'drain', signal)
  }

  async terminate(machineId: string, signal: AbortSignal): Promise<void> {
    await this.#tell(machineId, 'end', signal)
  }

  async #tell(machineId: string, verb: 'drain' | 'end', signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const [name, token] = this.#placeOf(machineId) ?? []
    if (name === undefined || token === undefined) return
    const machine = this.#settings.machines[name]!
    try {
      await this.#ask(machine, verb, signal, [token])
    } catch (thrown) {
      if (machine.wake === undefined || !isOff(thrown)) throw thrown
    }
  }

  /** The lease that a machine holds for this mesh. One that sleeps holds none. */
  async #look(name: string, signal: AbortSignal): Promise<Machine | undefined> {
    const machine = this.#settings.machines[name]!
    try {
      const answer = await this.#ask(machine, 'look', signal)
      return answer.kind === 'lease' && answer.mesh === this.#mesh ? machineOf(name, answer) : undefined
    } catch (thrown) {
      if (machine.wake !== undefined && isOff(thrown)) return undefined
      throw thrown
    }
  }

  async #ask(
    machine: SshMachine,
    verb: Verb,
    signal: AbortSignal,
    values: readonly string[] = [],
  ): Promise<RemoteAnswer> {
    const script = remoteScript(machine, this.#mesh, verb, values)
    const init = { settings: this.#settings, machine, script, environment: this.#environment }
    return readRemote(await askSsh({ ...init, run: this.#run, clock: this.#clock }, signal), `ssh ${machine.host}`)
  }

  #placeOf(machineId: string): [name: string, token: string] | undefined {
    const [, name, token] = MACHINE_ID.exec(machineId) ?? []
    const isKnown = name !== undefined && Object.hasOwn(this.#settings.machines, name)
    return isKnown && token !== undefined ? [name, token] : undefined
  }
}

const machineOf = (name: string, { token, state, sinceMs }: RemoteAnswer & { readonly kind: 'lease' }): Machine => ({
  id: `${name}/${token}`,
  token,
  state,
  launchedAtMs: sinceMs,
})
