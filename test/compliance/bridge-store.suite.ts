/** What every store of a bridge's devices must do. */
import { describe, expect, it } from 'vitest'
import { LIMITS, type BridgeCall, type DeviceDescriptor, type Reading } from '../../mesh/protocol/index.ts'
import { FIRST_POLICY, type DeviceStore, type NewDevice } from '../../firmware-bridge/store/index.ts'

export const newDevice = (id: string, rest: Partial<NewDevice> = {}): NewDevice => ({
  id,
  name: id,
  addedAtMs: 1000,
  policy: FIRST_POLICY,
  ...rest,
})

export const descriptorOf = (id: string): DeviceDescriptor => ({
  id,
  class: 'uno',
  firmware: '1',
  dialect: 'frames',
  rx: 96,
  sleeps: 0,
  capabilities: [{ name: 'temp', dir: 'sensor', type: 'number', unit: 'C' }],
  policy: FIRST_POLICY,
})

export const reading = (device: string, n: number, value = n): Reading => ({
  device,
  name: 'temp',
  value,
  atMs: 1000 + n,
  boot: 7,
  n,
})

const uuid = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`
export const callOf = (n: number, rest: Partial<BridgeCall> = {}): BridgeCall => ({
  call: uuid(n),
  device: 'a',
  capability: 'temp',
  op: 'read',
  expiresAtMs: 5000,
  ...rest,
})

export function bridgeStoreSuite(open: () => Promise<DeviceStore>): void {
  describe('devices', () => {
    it('are added once, changed and removed', async () => {
      const store = await open()
      expect(await store.add(newDevice('a', { credential: new Uint8Array([1, 2]) }))).toBe(true)
      expect(await store.add(newDevice('a'))).toBe(false)
      expect(await store.change('b', { port: 'p' })).toBe(false)
      const approval = { chip: 'c', code: '123456', untilMs: 9 }
      expect(await store.change('a', { port: 'p', approval, policy: { ...FIRST_POLICY, act: 'yes' } })).toBe(true)
      const [device] = await store.devices()
      expect(device).toMatchObject({ id: 'a', port: 'p', approval, tele: 0, policy: { act: 'yes' } })
      expect([...device!.credential!]).toEqual([1, 2])
      await store.change('a', { approval: null })
      expect((await store.devices())[0]).not.toHaveProperty('approval')
      expect(await store.remove('a')).toBe(true)
      expect(await store.remove('a')).toBe(false)
      expect(await store.devices()).toEqual([])
      expect((await store.next())!.gone).toEqual(['a'])
    })

    it('that are removed and added again in one part are told as there', async () => {
      const store = await open()
      await store.add(newDevice('a'))
      await store.hello(descriptorOf('a'), 7)
      await store.remove('a')
      await store.add(newDevice('a'))
      await store.hello(descriptorOf('a'), 8)
      const part = (await store.next())!
      expect(part.gone).toEqual([])
      expect(part.devices.map(({ id }) => id)).toEqual(['a'])
    })
  })

  describe('readings', () => {
    it('are recorded once for each number of a boot', async () => {
      const store = await open()
      await store.add(newDevice('a'))
      expect(await store.tele('a', 7, 1, [reading('a', 1)])).toBe(false)
      await store.hello(descriptorOf('a'), 7)
      expect(await store.tele('a', 7, 2, [reading('a', 2)])).toBe(true)
      expect(await store.tele('a', 7, 2, [reading('a', 2)])).toBe(false)
      expect(await store.tele('a', 7, 1, [reading('a', 1)])).toBe(false)
      expect(await store.tele('a', 6, 9, [reading('a', 9)])).toBe(false)
      // another hello of the same start changes nothing; another start counts anew
      await store.hello(descriptorOf('a'), 7)
      expect(await store.tele('a', 7, 2, [reading('a', 2)])).toBe(false)
      await store.hello(descriptorOf('a'), 8)
      expect(await store.tele('a', 8, 1, [reading('a', 1)])).toBe(true)
      const part = (await store.next())!
      expect(part.readings.map(({ n }) => n)).toEqual([2, 1])
      expect((await store.devices())[0]).toMatchObject({ boot: 8, tele: 1 })
    })
  })

  describe('readings that the bridge makes', () => {
    it('are reported in their order, and count for no boot', async () => {
      const store = await open()
      await store.add(newDevice('a'))
      await store.hello(descriptorOf('a'), 7)
      await store.tele('a', 7, 5, [reading('a', 5)])
      await store.derived([reading('a', 0)])
      await store.derived([reading('a', 0)])
      expect((await store.next())!.readings.map(({ n }) => n)).toEqual([5, 0, 0])
      expect((await store.devices())[0]).toMatchObject({ tele: 5 })
    })
  })

  describe('the outbox', () => {
    it('numbers what is not recorded behind parts that it never made', async () => {
      const store = await open()
      await store.add(newDevice('a'))
      await store.state({ device: 'a', state: 'ready', atMs: 1 })
      expect((await store.next())!.seq).toBe(1)
      await store.renumber(40)
      expect(await store.next()).toMatchObject({ seq: 41, states: [{ device: 'a' }] })
      await store.recorded(41)
      expect(await store.next()).toBeUndefined()
    })

    it('gives a part under one number until it is recorded', async () => {
      const store = await open()
      let told = 0
      const stop = store.onPending(() => told++)
      expect(await store.next()).toBeUndefined()
      await store.add(newDevice('a'))
      await store.hello(descriptorOf('a'), 7)
      await store.tele('a', 7, 1, [reading('a', 1)])
      expect(told).toBe(2)
      const first = (await store.next())!
      await store.tele('a', 7, 2, [reading('a', 2)])
      expect(await store.next()).toEqual(first)
      await store.recorded(first.seq)
      const second = (await store.next())!
      expect(second.seq).toBe(first.seq + 1)
      expect(second.readings.map(({ n }) => n)).toEqual([2])
      // an answer that comes late says nothing of a newer part
      await store.recorded(first.seq)
      expect(await store.next()).toEqual(second)
      await store.recorded(second.seq)
      expect(await store.next()).toBeUndefined()
      stop()
      await store.state({ device: 'a', state: 'ready', atMs: 1 })
      expect(told).toBe(3)
      expect((await store.next())!.states).toEqual([{ device: 'a', state: 'ready', atMs: 1 }])
    })

    it('keeps a part within the bounds of a report', async () => {
      const store = await open()
      await store.add(newDevice('a'))
      await store.hello(descriptorOf('a'), 7)
      const many = Array.from({ length: 32 }, (_, at) => reading('a', 1, at))
      const writes = Array.from({ length: 200 }, (_, at) => store.tele('a', 7, at + 1, many))
      expect(await Promise.all(writes)).toEqual(writes.map(() => true))
      const sizes: number[] = []
      for (let part = await store.next(); part; part = await store.next()) {
        sizes.push(part.readings.length)
        expect(JSON.stringify(part).length).toBeLessThan(1024 * 1024)
        await store.recorded(part.seq)
      }
      expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(6400)
      expect(Math.max(...sizes)).toBeLessThanOrEqual(5000)
    })

    it('describes all devices again', async () => {
      const store = await open()
      await store.add(newDevice('a'))
      await store.add(newDevice('b'))
      await store.hello(descriptorOf('a'), 7)
      await store.recorded((await store.next())!.seq)
      await store.describeAll()
      expect((await store.next())!.devices.map(({ id }) => id)).toEqual(['a'])
    })

    it('describes them with the policy that holds, which may be newer than their hello', async () => {
      const store = await open()
      await store.add(newDevice('a'))
      await store.hello(descriptorOf('a'), 7)
      await store.recorded((await store.next())!.seq)
      const policy = { ...descriptorOf('a').policy, act: 'no', local_only: true } as const
      await store.change('a', { policy })
      await store.describeAll()
      expect((await store.next())!.devices).toEqual([{ ...descriptorOf('a'), policy }])
    })
  })

  it('reports what came of rules, once, in the parts where it belongs', async () => {
    const store = await open()
    await store.add(newDevice('a'))
    const report = { rule: 'vent-opens', device: 'a', outcome: 'cooldown', times: 3, atMs: 5 } as const
    await store.ruled([report])
    const part = (await store.next())!
    expect(part.rules).toEqual([report])
    await store.recorded(part.seq)
    await store.ruled(Array.from({ length: LIMITS.bridgeReportRulesMax }, () => report))
    await store.ruled([report])
    expect((await store.next())!.rules).toHaveLength(LIMITS.bridgeReportRulesMax)
    await store.recorded((await store.next())!.seq)
    expect((await store.next())!.rules).toEqual([report])
  })

  describe('calls', () => {
    it('are known once, sent once and ended once', async () => {
      const store = await open()
      expect(await store.addCall({ call: callOf(1), state: 'waiting' })).toBe(true)
      expect(await store.addCall({ call: callOf(1), state: 'waiting' })).toBe(false)
      const cmd = store.nextCommand()
      expect(await store.sendCall(callOf(1).call, cmd)).toBe(true)
      expect(await store.sendCall(callOf(1).call, store.nextCommand())).toBe(false)
      expect(await store.openCalls()).toEqual([{ call: callOf(1), state: 'sent', cmd }])
      const result = { call: callOf(1).call, outcome: 'done', value: 21, atMs: 3 } as const
      expect(await store.endCall(result)).toBe(true)
      expect(await store.endCall(result)).toBe(false)
      expect(await store.endCall({ ...result, call: callOf(9).call })).toBe(false)
      expect(await store.openCalls()).toEqual([])
      expect((await store.next())!.results).toEqual([result])
      // ended, and known still
      expect(await store.addCall({ call: callOf(1), state: 'waiting' })).toBe(false)
      await store.purge(5000)
      expect(await store.addCall({ call: callOf(1), state: 'waiting' })).toBe(false)
      await store.purge(5001)
      expect(await store.addCall({ call: callOf(1), state: 'waiting' })).toBe(true)
    })
  })
}
