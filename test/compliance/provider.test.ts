import { ManualClock } from '../../mesh/runtime/index.ts'
import { MemoryProvider, type CallFault, type MemoryProviderInit } from '../fixtures/providers/memory-provider.ts'
import { providerSuite } from './provider.suite.ts'

const FLAVOURS: MemoryProviderInit['flavours'] = {
  small: { microsPerHour: 1_000_000, billedStepMs: 1000, billedLeastMs: 60_000, readyMs: 120_000, isSpot: false },
}

providerSuite('in memory', async () => {
  const clock = new ManualClock()
  let standing: CallFault | undefined
  let next: CallFault | undefined
  const init: MemoryProviderInit = {
    ...{ flavours: FLAVOURS, bootMs: 30_000, settleMs: 5000, answerMs: 0 },
    fault: (call) => {
      if (call !== 'launch') return standing === 'no capacity' ? undefined : standing
      const fault = next ?? standing
      next = undefined
      return fault
    },
  }
  const provider = new MemoryProvider(clock, init)
  return {
    provider,
    flavour: 'small',
    reopen: async () => new MemoryProvider(clock, init, provider),
    ofOtherMesh: async () => new MemoryProvider(clock, { ...init, mesh: 'another' }, provider),
    pass: (ms) => clock.advance(ms),
    loseAnswer: () => void (next = 'lost'),
    throttle: (is) => void (standing = is ? 'throttled' : undefined),
    exhaust: (is) => void (standing = is ? 'no capacity' : undefined),
    spoilKey: () => void (standing = 'refused'),
    cleanUp: async () => {},
  }
})
