/** What every provider of machines does, whatever is behind it. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LaunchOrder, Machine, Provider } from '../../coordinator/cloud/index.ts'

export interface OpenedProvider {
  readonly provider: Provider
  /** One that it can launch. */
  readonly flavour: string
  /** A second provider with the same account and the same mesh, as after a restart: it knows what is outside alone. */
  readonly reopen: () => Promise<Provider>
  /** The same account used by another mesh. */
  readonly ofOtherMesh: () => Promise<Provider>
  /** Time goes on by so many ms, where it is not the machine's. */
  readonly pass: (ms: number) => Promise<void>
  /** The next answer to a launch is lost on its way, after the machine was made. */
  readonly loseAnswer: () => void
  /** From now on every call is answered as of too many calls; `false` ends it. */
  readonly throttle: (isThrottling: boolean) => void
  /** From now on there is no machine to be had; `false` ends it. */
  readonly exhaust: (isExhausted: boolean) => void
  /** From now on the owner's key is wrong. */
  readonly spoilKey: () => void
  readonly cleanUp: () => Promise<void>
}

const SIGNAL = new AbortController().signal
/** Looked at so often, `settleMs` apart at most, until what was done is to be seen. */
const LOOKS_MAX = 200

export function providerSuite(name: string, open: () => Promise<OpenedProvider>): void {
  describe(`provider ${name}`, () => {
    let place: OpenedProvider
    let provider: Provider
    let orders = 0
    const order = (more: Partial<LaunchOrder> = {}): LaunchOrder => ({
      token: `token-${name.replaceAll(/[^a-z0-9]/gi, '')}-${++orders}`,
      flavour: place.flavour,
      name: `skein-${orders}`,
      invite: 'skein1-of-a-test',
      serves: ['tiny'],
      aloneMinutes: 10,
      ...more,
    })
    const until = async (isSo: () => Promise<boolean>): Promise<void> => {
      for (let i = 0; i < LOOKS_MAX; i++) {
        if (await isSo()) return
        await place.pass(Math.max(20, provider.settleMs / 10))
      }
      expect.fail('it never came to be so')
    }
    const tokens = (machines: readonly Machine[]): string[] => machines.map(({ token }) => token)
    const isListed = async ({ token }: { readonly token: string }, at = provider): Promise<boolean> =>
      tokens(await at.list(SIGNAL)).includes(token)

    beforeEach(async () => {
      place = await open()
      ;({ provider } = place)
    })
    afterEach(() => place.cleanUp())

    it('says what a flavour costs and when it is ready', async () => {
      const quote = await provider.quote(place.flavour, SIGNAL)
      expect(Number.isSafeInteger(quote.microsPerHour) && quote.microsPerHour >= 0).toBe(true)
      expect(quote.billedStepMs).toBeGreaterThanOrEqual(1)
      expect(quote.billedLeastMs).toBeGreaterThanOrEqual(0)
      expect(quote.readyMs).toBeGreaterThan(0)
      await expect(provider.quote('no such flavour', SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_REFUSED' })
    })

    it('launches, tells of it and ends it', async () => {
      const wanted = order()
      const machine = await provider.launch(wanted, SIGNAL)
      expect(machine.token).toBe(wanted.token)
      expect(machine.id.length).toBeLessThanOrEqual(128)
      expect(['starting', 'running']).toContain(machine.state)
      await until(() => isListed(wanted))
      await until(async () => (await provider.get(machine.id, SIGNAL))?.token === wanted.token)
      await provider.drain(machine.id, SIGNAL)
      await provider.terminate(machine.id, SIGNAL)
      await until(async () => !(await isListed(wanted)))
      await until(async () => ['gone', undefined].includes((await provider.get(machine.id, SIGNAL))?.state))
    })

    it('makes one machine of one token, however often it is launched, also after a restart', async () => {
      const wanted = order()
      const first = await provider.launch(wanted, SIGNAL)
      const again = await provider.launch(wanted, SIGNAL)
      const after = await (await place.reopen()).launch(wanted, SIGNAL)
      expect([again.id, after.id]).toEqual([first.id, first.id])
      await until(() => isListed(wanted))
      expect(tokens(await provider.list(SIGNAL))).toEqual([wanted.token])
    })

    it('makes one machine of one token that is launched twice at once', async () => {
      const wanted = order()
      const made = await Promise.allSettled([provider.launch(wanted, SIGNAL), provider.launch(wanted, SIGNAL)])
      expect(made.some(({ status }) => status === 'fulfilled')).toBe(true)
      await until(() => isListed(wanted))
      expect(tokens(await provider.list(SIGNAL))).toEqual([wanted.token])
    })

    it('makes no second machine when the answer to the first launch was lost', async () => {
      const wanted = order()
      place.loseAnswer()
      await expect(provider.launch(wanted, SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
      const machine = await provider.launch(wanted, SIGNAL)
      expect(machine.token).toBe(wanted.token)
      await until(() => isListed(wanted))
      expect(tokens(await provider.list(SIGNAL))).toEqual([wanted.token])
    })

    it('ends a machine twice, and one that never was, without a word', async () => {
      const machine = await provider.launch(order(), SIGNAL)
      await until(async () => (await provider.get(machine.id, SIGNAL)) !== undefined)
      await provider.terminate(machine.id, SIGNAL)
      await provider.terminate(machine.id, SIGNAL)
      await provider.drain(machine.id, SIGNAL)
    })

    it('knows after a restart what runs, and ends it', async () => {
      const wanted = order()
      const { id } = await provider.launch(wanted, SIGNAL)
      const later = await place.reopen()
      await until(() => isListed(wanted, later))
      await later.terminate(id, SIGNAL)
      await until(async () => !(await isListed(wanted, later)))
    })

    it('sees no machine of another mesh', async () => {
      const wanted = order()
      await provider.launch(wanted, SIGNAL)
      await until(() => isListed(wanted))
      const other = await place.ofOtherMesh()
      expect(await other.list(SIGNAL)).toEqual([])
      const [machine] = await provider.list(SIGNAL)
      expect(await other.get(machine!.id, SIGNAL)).toBeUndefined()
      await expect(other.terminate(machine!.id, SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_REFUSED' })
      expect(await isListed(wanted)).toBe(true)
    })

    it('says when it is throttled, and works again after', async () => {
      const wanted = order()
      place.throttle(true)
      await expect(provider.launch(wanted, SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
      await expect(provider.list(SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_UNAVAILABLE' })
      place.throttle(false)
      await provider.launch(wanted, SIGNAL)
      await until(() => isListed(wanted))
    })

    it('tells apart that there is no machine now, and that the owner must do something', async () => {
      place.exhaust(true)
      await expect(provider.launch(order(), SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_NO_CAPACITY' })
      place.exhaust(false)
      await expect(provider.launch(order({ flavour: 'none' }), SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_REFUSED' })
      place.spoilKey()
      await expect(provider.launch(order(), SIGNAL)).rejects.toMatchObject({ code: 'CLOUD_REFUSED' })
    })

    it('is not called when its caller has gone already', async () => {
      const gone = AbortSignal.abort(new DOMException('gone', 'AbortError'))
      await expect(provider.launch(order(), gone)).rejects.toMatchObject({ name: 'AbortError' })
      expect(await provider.list(SIGNAL)).toEqual([])
    })
  })
}
