/** The codec is total: valid frames come back as they were, and any other bytes give a SkeinError and nothing else. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  asTaskId,
  decodeFrame,
  defineFrame,
  encodeFrame,
  FRAMES,
  frameSet,
  INBOUND,
  LIMITS,
  packTokenIds,
  readCanonical,
  canonicalBytes,
  SkeinError,
  unpackTokenIds,
  type AnyFrame,
  type ErrorCode,
  type Frame,
  type FrameSet,
} from '../../../mesh/protocol/index.ts'
import { countCborItems } from '../../../mesh/protocol/frames/cbor-items.ts'
import { anyFrame } from './arbitraries.ts'

const ANY: FrameSet<AnyFrame> = frameSet(...FRAMES)

/** Code of the error that `run` throws; fails on anything that is no SkeinError. `undefined` when it returns. */
function codeOf(run: () => unknown): ErrorCode | undefined {
  try {
    run()
    return undefined
  } catch (error) {
    if (error instanceof SkeinError) return error.code
    throw error
  }
}

const REFUSALS: readonly (ErrorCode | undefined)[] = [undefined, 'FRAME_MALFORMED', 'FRAME_UNEXPECTED']
const tagOf = (type: string): number => FRAMES.find((frame) => frame.type === type)!.tag
const payload = (type: string, ...cbor: number[]): Uint8Array => Uint8Array.from([tagOf(type), ...cbor])

describe('decodeFrame', () => {
  it('gives back every valid frame as it was', () => {
    fc.assert(
      fc.property(anyFrame, (frame) => void expect(decodeFrame(encodeFrame(frame), ANY)).toEqual(frame)),
      {
        numRuns: 1000,
      },
    )
  })

  it('gives a frame or a SkeinError for any bytes', () => {
    const bytes = fc.uint8Array({ maxLength: 400 })
    const tagged = fc
      .tuple(fc.constantFrom(...FRAMES.map((frame) => frame.tag)), bytes)
      .map(([tag, rest]) => Uint8Array.from([tag, ...rest]))
    fc.assert(
      fc.property(
        fc.oneof(bytes, tagged),
        (input) => void expect(REFUSALS).toContain(codeOf(() => decodeFrame(input, ANY))),
      ),
      { numRuns: 5000 },
    )
  })

  it('gives a frame or a SkeinError for a valid frame with some bytes changed', () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(anyFrame, changes, fc.nat(), (frame, edits, cut) => {
        const input = encodeFrame(frame)
        for (const [at, byte] of edits) input[at % input.length] = byte
        const end = cut % 3 === 0 ? cut % input.length : input.length
        expect(REFUSALS).toContain(codeOf(() => decodeFrame(input.subarray(0, end), ANY)))
      }),
      { numRuns: 3000 },
    )
  })

  it('ignores fields that it does not know, and never takes the type from the peer', () => {
    const extended = encodeFrame({ type: 'control.heartbeat', sequence: 7, later: { a: [1] } } as AnyFrame)
    expect(decodeFrame(extended, INBOUND.controlNode)).toMatchObject({ type: 'control.heartbeat', sequence: 7 })
    // {"type": "x"} in a hello.accepted
    const lying = payload('hello.accepted', 0xa1, 0x64, ...Buffer.from('type'), 0x61, 0x78)
    expect(decodeFrame(lying, INBOUND.helloAcceptor).type).toBe('hello.accepted')
  })

  it.each([
    ['nothing', new Uint8Array(0), 'FRAME_MALFORMED'],
    ['an unknown tag', Uint8Array.of(0xff, 0xa0), 'FRAME_MALFORMED'],
    ['a tag without a body', Uint8Array.of(tagOf('hello.accepted')), 'FRAME_MALFORMED'],
    ['a list', payload('hello.accepted', 0x80), 'FRAME_MALFORMED'],
    ['null', payload('hello.accepted', 0xf6), 'FRAME_MALFORMED'],
    ['bytes after the map', payload('hello.accepted', 0xa0, 0xa0), 'FRAME_MALFORMED'],
    ['a map of indefinite length', payload('hello.accepted', 0xbf, 0xff), 'FRAME_MALFORMED'],
    ['a key twice', payload('hello.accepted', 0xa2, 0x61, 0x61, 0x01, 0x61, 0x61, 0x02), 'FRAME_MALFORMED'],
    ['not a number', payload('control.heartbeat', ...nanSequence()), 'FRAME_MALFORMED'],
    ['a list of four billion', payload('hello.accepted', 0x9a, 0xff, 0xff, 0xff, 0xff), 'FRAME_MALFORMED'],
    ['a required field hidden in a prototype', hiddenReason(), 'FRAME_MALFORMED'],
    ['nesting without end', new Uint8Array(60_000).fill(0x81).fill(0x11, 0, 1), 'FRAME_MALFORMED'],
  ] as const)('refuses %s', (_what, input, code) => {
    expect(codeOf(() => decodeFrame(input, ANY))).toBe(code)
  })

  it('refuses a frame of another stream', () => {
    const heartbeat = encodeFrame({ type: 'control.heartbeat', sequence: 1 } as AnyFrame)
    expect(codeOf(() => decodeFrame(heartbeat, INBOUND.attemptNode))).toBe('FRAME_UNEXPECTED')
  })

  it('refuses a bomb of small items before any is decoded', () => {
    const bomb = new Uint8Array(LIMITS.attemptFrameBytesMax).fill(0x01)
    // a list that says it has as many items as there are bytes
    bomb.set([tagOf('attempt.start'), 0x9a, ...u32(bomb.length - 6)])
    const before = process.memoryUsage().heapUsed
    expect(() => decodeFrame(bomb, ANY)).toThrow(`more than ${LIMITS.frameItemsMax} items`)
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(LIMITS.attemptFrameBytesMax)
  })

  it('refuses a text, list or number over its bound', () => {
    const goodbye = (length: number): Uint8Array =>
      encodeFrame({ type: 'control.goodbye', reason: 'x'.repeat(length) } as AnyFrame)
    expect(codeOf(() => decodeFrame(goodbye(256), ANY))).toBeUndefined()
    expect(codeOf(() => decodeFrame(goodbye(257), ANY))).toBe('FRAME_MALFORMED')
    const beat = (sequence: number): Uint8Array => encodeFrame({ type: 'control.heartbeat', sequence } as AnyFrame)
    expect(codeOf(() => decodeFrame(beat(Number.MAX_SAFE_INTEGER), ANY))).toBeUndefined()
    expect(codeOf(() => decodeFrame(beat(-1), ANY))).toBe('FRAME_MALFORMED')
    expect(codeOf(() => decodeFrame(beat(1.5), ANY))).toBe('FRAME_MALFORMED')
  })
})

function u32(value: number): number[] {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]
}
/** `{"sequence": NaN}` */
function nanSequence(): number[] {
  return [0xa1, 0x68, ...Buffer.from('sequence'), 0xf9, 0x7e, 0x00]
}
/** A control.goodbye `{"__proto__": {"reason": "a"}}`. */
function hiddenReason(): Uint8Array {
  return payload(
    'control.goodbye',
    0xa1,
    0x69,
    ...Buffer.from('__proto__'),
    0xa1,
    0x66,
    ...Buffer.from('reason'),
    0x61,
    0x61,
  )
}

describe('the largest frames that their schemas allow', () => {
  it('lets the largest list of held attempts into a control frame', () => {
    const attempts = Array.from({ length: LIMITS.heldAttemptsMax }, () => ({
      taskId: asTaskId(`task_${'a'.repeat(24)}`),
      fence: Number.MAX_SAFE_INTEGER,
      index: LIMITS.generatedTokensMax,
      ended: true,
    }))
    const frame: Frame = { type: 'control.held', attempts }
    const encoded = encodeFrame(frame)
    expect(encoded.length).toBeLessThanOrEqual(LIMITS.controlFrameBytesMax)
    expect(decodeFrame(encoded, INBOUND.controlCoordinator)).toEqual(frame)
    const more: Frame = { type: 'control.held', attempts: [...attempts, attempts[0]!] }
    expect(codeOf(() => decodeFrame(encodeFrame(more), ANY))).toBe('FRAME_MALFORMED')
  })

  it('lets the log probabilities of a full token frame into its items and bytes', () => {
    const share = { bytes: new Uint8Array(LIMITS.tokenBytesMax), logprob: -1.234567890123 }
    const top = Array.from({ length: LIMITS.topLogprobsMax }, () => share)
    const count = LIMITS.tokensPerFrameMax
    const frame: Frame = {
      type: 'attempt.tokens',
      fence: Number.MAX_SAFE_INTEGER,
      index: LIMITS.generatedTokensMax,
      ids: packTokenIds(new Array<number>(count).fill(0xffff_ffff)),
      text: 'x'.repeat(count * LIMITS.tokenBytesMax),
      logprobs: Array.from({ length: count }, () => ({ ...share, top })),
    }
    const encoded = encodeFrame(frame)
    expect(encoded.length).toBeLessThanOrEqual(LIMITS.attemptFrameBytesMax)
    expect(decodeFrame(encoded, INBOUND.attemptCoordinator).type).toBe('attempt.tokens')
  })
})

describe('encodeFrame and the registry', () => {
  it('refuses a frame that nobody defined', () => {
    expect(codeOf(() => encodeFrame({ type: 'control.unheard' }))).toBe('INTERNAL')
  })

  it('gives a tag and a type to one frame only', () => {
    const [first] = FRAMES
    expect(codeOf(() => defineFrame(first.tag, 'test.other', first.schema))).toBe('INTERNAL')
    expect(codeOf(() => defineFrame(0xee, first.type, first.schema))).toBe('INTERNAL')
    expect(codeOf(() => defineFrame(256, 'test.wide', first.schema))).toBe('INTERNAL')
  })

  it('has every frame in the inbound set of a receiver', () => {
    const expected = new Set(Object.values(INBOUND).flatMap((set) => [...set.types]))
    expect([...expected].sort()).toEqual(FRAMES.map((frame) => frame.type).sort())
  })
})

describe('CBOR beside frames', () => {
  it('counts items as the decoder sees them', () => {
    const json = fc.jsonValue({ noUnicodeString: false })
    const items = (value: unknown): number => {
      if (Array.isArray(value)) return 1 + value.reduce((sum: number, item) => sum + items(item), 0)
      if (typeof value !== 'object' || value === null) return 1
      return 1 + Object.values(value).reduce((sum: number, item) => sum + 1 + items(item), 0)
    }
    fc.assert(fc.property(json, (value) => void expect(countCborItems(canonicalBytes(value), 1e9)).toBe(items(value))))
  })

  it('reads what it wrote, and gives undefined for other bytes', () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => void readCanonical(bytes)))
    expect(readCanonical(Uint8Array.of(0xff))).toBeUndefined()
    expect(readCanonical(canonicalBytes({ b: 1, a: new Uint8Array([2]) }))).toEqual({ a: new Uint8Array([2]), b: 1 })
  })

  it('is the same for the same fields in another order: signatures depend on it', () => {
    expect(canonicalBytes({ a: 1, bb: 2, c: 3 })).toEqual(canonicalBytes({ c: 3, bb: 2, a: 1 }))
  })

  it('packs token ids in four bytes each', () => {
    const ids = fc.array(fc.nat(0xffff_ffff))
    fc.assert(fc.property(ids, (list) => void expect(unpackTokenIds(packTokenIds(list))).toEqual(list)))
    expect(unpackTokenIds(new Uint8Array(5))).toBeUndefined()
  })
})
