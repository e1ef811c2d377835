/**
 * The Arduino library on a real ATmega328P, which runs in this process by avr8js: programs that avr-gcc compiled, spoken to
 * over their UART with the bridge's own codec. Time is the board's own.
 */
import { describe, expect, it } from 'vitest'
import { SeededRandom } from '../../mesh/runtime/index.ts'
import { crc16, FrameDecoder } from '../../firmware-bridge/link/index.ts'
import { COMPACT_ERRORS, decodeMessage } from '../../firmware-bridge/messages/index.ts'
import { Desk, piecesOf } from '../fixtures/avr/desk.ts'
import { programOf, SimulatedUno } from '../fixtures/avr/uno.ts'
import { UnoPort } from '../fixtures/avr/uno-port.ts'
import { after } from '../fixtures/temporary.ts'

const VENT = 13
const volts = (celsius: number): number => (celsius + 50) / 100

function greenhouse(celsius = 23): { uno: SimulatedUno; desk: Desk } {
  const uno = new SimulatedUno(programOf('greenhouse'))
  uno.setAnalog(0, volts(celsius))
  return { uno, desk: new Desk(uno) }
}

function exam(noise?: { rate: number; seed: number }): Desk {
  const uno = new SimulatedUno(programOf('exam'))
  return new Desk(uno, noise && { noise: { rate: noise.rate, random: new SeededRandom(noise.seed) } })
}
const [CRC, BYTES, ERROR, COUNT, ECHO, ASK] = [0, 1, 2, 3, 4, 5] as const
/** What `ERROR` is while a question is open, and of an answer that was cut: `SKEIN_CUT`. */
const [ASKING, CUT] = [254, 255]

describe('the greenhouse on a Uno', () => {
  it('joins, says hello until it is welcome, and tells its capabilities', () => {
    const { uno } = greenhouse()
    const desk = new Desk(uno, { deaf: 4 })
    expect(desk.until(() => desk.hello !== undefined, 5000)).toBe(true)
    expect(uno.ms).toBeGreaterThan(4000)
    expect(desk.hello).toMatchObject({ fw: 'greenhouse 1', class: 'uno', rx: 92, win: 1, n: 2 })
    expect(desk.join()).toBe(true)
    expect(desk.caps).toEqual(['rf:temperature:C', 'wb:vent'])
  })

  it('tells another boot after each start, and nothing before it is welcome', () => {
    const { uno, desk } = greenhouse()
    desk.until(() => desk.hello !== undefined)
    const first = desk.hello!.boot
    desk.step(3000)
    expect(desk.said.filter(({ kind }) => kind !== 'hello' && kind !== 'caps')).toEqual([])
    uno.reset()
    const again = new Desk(uno)
    again.until(() => again.hello !== undefined)
    expect(again.hello!.boot).toBe(first + 1)
  })

  it('tells the temperature that its pin has, each second', () => {
    const { uno, desk } = greenhouse(23)
    desk.join()
    desk.until(() => desk.last('tele') !== undefined)
    const temperature = (): number => Number(desk.last('tele')!.r[0]![1])
    expect(temperature()).toBeCloseTo(23, 0)
    uno.setAnalog(0, volts(38))
    desk.step(2000)
    expect(temperature()).toBeCloseTo(38, 0)
    expect(desk.said.filter(({ kind }) => kind === 'tele').map((tele) => tele.kind === 'tele' && tele.n)).toEqual([
      1, 2, 3,
    ])
  })

  it('opens its vent, once, and says what became of it', () => {
    const { uno, desk } = greenhouse()
    desk.join()
    expect(uno.pin(VENT)).toBe(false)
    expect(desk.command(7, 1, true)).toEqual({ ok: true, value: true, times: 1 })
    expect(uno.pin(VENT)).toBe(true)
    // the same command once more, as it would be if its result had been lost; the board does not look at what is in it
    desk.said.length = 0
    desk.send({ kind: 'cmd', id: 7, c: 1, v: false })
    desk.until(() => desk.last('result') !== undefined)
    expect(desk.last('result')).toMatchObject({ id: 7, ok: true, v: true })
    expect(uno.pin(VENT)).toBe(true)
    // an older one is not even answered
    desk.send({ kind: 'cmd', id: 6, c: 1, v: false })
    desk.step(50)
    expect(uno.pin(VENT)).toBe(true)
    expect(desk.command(8, 0)).toMatchObject({ ok: true, value: expect.closeTo(23, 0) })
    expect(desk.command(9, 5, true)).toMatchObject({ ok: false })
    expect(desk.last('result')!.e).toBe('unknown_capability')
  })

  it('says hello again when the bridge does not know it, and rests when it was revoked', () => {
    const { desk } = greenhouse()
    desk.join()
    desk.said.length = 0
    desk.send({ kind: 'bye', c: 'say_hello' })
    expect(desk.until(() => desk.last('hello') !== undefined, 3000)).toBe(true)
    desk.send({ kind: 'bye', c: 'revoked' })
    desk.step(100)
    desk.said.length = 0
    expect(desk.until(() => desk.last('hello') !== undefined, 6000)).toBe(false)
  })

  it('is a stream at the speed of a real board', async () => {
    const { uno } = greenhouse()
    const port = new UnoPort(uno)
    after(async () => void port.destroy())
    const decoder = new FrameDecoder()
    for await (const bytes of port) {
      const [frame] = decoder.push(bytes as Buffer)
      if (frame === undefined) continue
      expect(decodeMessage(frame.type, frame.payload, 'cbor', 'up')).toMatchObject({
        value: { kind: 'hello', class: 'uno' },
      })
      break
    }
    expect(port.destroyed).toBe(true)
  })
})

describe('a model on the board itself', () => {
  // along x, y and z, in g
  it.each([
    ['upright', 0, [0.05, -0.03, 1]],
    ['tilted', 1, [0.5, 0.45, 0.73]],
    ['fallen', 2, [0.97, -0.1, 0.08]],
    ['fallen', 2, [-0.3, 0.93, 0.1]],
  ])('%s', (_what, place, gravity) => {
    const uno = new SimulatedUno(programOf('posture'))
    gravity.forEach((g, axis) => uno.setAnalog(axis, ((338 + 68 * g) * 5) / 1024))
    const desk = new Desk(uno)
    desk.join()
    desk.step(1500)
    expect(desk.caps).toContain('me:posture::upright|tilted|fallen')
    const { r } = desk.last('tele')!
    expect(r[0]).toEqual([0, place])
    expect(Number(r[1]![1])).toBeGreaterThan(16)
    expect(desk.last('infer')).toBeUndefined()
  })

  it('asks the mesh where it is unsure', () => {
    const uno = new SimulatedUno(programOf('posture'))
    const desk = new Desk(uno)
    const lean = (degrees: number): void => {
      const angle = (degrees * Math.PI) / 180
      for (const [axis, g] of [Math.sin(angle), 0, Math.cos(angle)].entries())
        uno.setAnalog(axis, ((338 + 68 * g) * 5) / 1024)
    }
    lean(0)
    desk.join()
    // somewhere between what it knows as tilted and as fallen
    let degrees = 50
    do lean(++degrees)
    while (!desk.until(() => desk.last('infer') !== undefined, 220) && degrees < 75)
    expect(degrees).toBeLessThan(75)
    expect(desk.last('infer')).toMatchObject({ as: 'yesno', max: 8 })
  })
})

const ANSWER = `${'Air it when the sun is high and it is warmer within than without. '.repeat(6)}Grüße, 25 °C.`

describe('a board that is examined', () => {
  it('has the whole answer, in pieces that it granted, each once', () => {
    const desk = exam()
    desk.join()
    expect(desk.command(1, ASK, 30)).toMatchObject({ ok: true })
    expect(desk.last('infer')).toMatchObject({
      q: 'Which one?',
      ttl: 30,
      max: 400,
      as: 'choice',
      of: ['yes', 'no', 'neither'],
    })
    const pieces = piecesOf(ANSWER, 40)
    expect(desk.answer(pieces)).toBe(true)
    const bytes = new TextEncoder().encode(ANSWER)
    expect(desk.command(2, BYTES).value).toBe(bytes.length)
    expect(desk.command(3, CRC).value).toBe(crc16(bytes))
    expect(desk.command(4, ERROR).value).toBe(0)
    // one credit for each piece: nothing was sent twice, and the board never granted more than one
    const credits = desk.said.filter((message) => message.kind === 'credit')
    expect(credits.map((credit) => credit.next)).toEqual(pieces.map((_, at) => at + 1))
    expect(credits.map((credit) => credit.n)).toEqual(pieces.map((_, at) => (at === pieces.length - 1 ? 0 : 1)))
  })

  it('asks in parts what is longer than a message, without cutting a character', () => {
    const desk = exam()
    desk.join()
    desk.command(1, ASK, 60)
    const parts = desk.said.filter((message) => message.kind === 'prompt')
    const prefix = 'What is told here is longer than a message of this board can be, so it is in parts '
    expect(parts).toEqual([{ kind: 'prompt', id: 1, i: 0, t: prefix }])
    expect(desk.last('infer')).toMatchObject({
      q: 'éèê, and this is what comes last, in the question itself.',
      pn: 1,
    })
  })

  it('asks again until it is heard, and fails by itself when nothing comes', () => {
    const desk = exam()
    desk.join()
    desk.command(1, ASK, 3)
    expect(desk.command(2, ERROR).value).toBe(ASKING)
    desk.step(4000)
    expect(desk.said.filter(({ kind }) => kind === 'infer').length).toBe(3)
    desk.step(2000)
    expect(COMPACT_ERRORS[Number(desk.command(3, ERROR).value) - 1]).toBe('deadline')
    // what comes after its end is not taken for the next answer
    desk.send({ kind: 'chunk', id: 1, i: 0, l: true, t: 'late' })
    desk.step(50)
    expect(desk.command(4, BYTES).value).toBe(0)
  })

  it('tells again under its number what nobody acknowledged, and nothing newer until then', () => {
    const desk = exam()
    desk.join()
    const told = (): number[] => desk.said.flatMap((message) => (message.kind === 'tele' ? [message.n] : []))
    expect(desk.command(1, ECHO, 'tell')).toMatchObject({ ok: true })
    expect(desk.last('tele')).toMatchObject({ n: 1, a: true })
    desk.step(7000)
    expect(told()).toEqual([1, 1, 1])
    expect(desk.command(2, ECHO, 'tell')).toMatchObject({ ok: false })
    desk.send({ kind: 'ack', n: 1 })
    desk.step(7000)
    expect(told()).toEqual([1, 1, 1])
    expect(desk.command(3, ECHO, 'tell')).toMatchObject({ ok: true })
    expect(told()).toEqual([1, 1, 1, 2])
  })

  it('is told what a model says of its readings', () => {
    const desk = exam()
    desk.join()
    desk.send({ kind: 'class', c: 1, label: 'stuck', score: 0.75 })
    desk.step(50)
    expect(desk.command(1, CRC).value).toBe(crc16(new TextEncoder().encode('stuck')))
    expect([desk.command(2, BYTES).value, desk.command(3, ERROR).value]).toEqual([105, 75])
  })

  it('is told why there is no answer', () => {
    const desk = exam()
    desk.join()
    desk.command(1, ASK, 30)
    desk.send({ kind: 'fail', id: 1, c: 'no_model' })
    desk.step(50)
    expect(COMPACT_ERRORS[Number(desk.command(2, ERROR).value) - 1]).toBe('no_model')
  })

  it('takes no part of an answer for the whole', () => {
    for (const [fin, error] of [
      ['length', CUT],
      ['shaped', 0],
      ['stop', 0],
    ] as const) {
      const desk = exam()
      desk.join()
      desk.command(1, ASK, 30)
      desk.send({ kind: 'chunk', id: 1, i: 0, l: false, t: 'one ' })
      desk.step(50)
      expect(desk.command(2, ERROR).value).toBe(ASKING)
      desk.send({ kind: 'chunk', id: 1, i: 1, l: true, t: '', fin })
      desk.step(50)
      expect(desk.command(3, ERROR).value).toBe(error)
    }
  })

  it('asks under odd ids, none of which is 0', () => {
    const desk = exam()
    desk.join()
    for (const [at, id] of [1, 3, 5].entries()) {
      desk.command(at + 1, ASK, 30)
      expect(desk.last('infer')!.id).toBe(id)
      // of no question: it ends none
      desk.send({ kind: 'fail', id: 0, c: 'rate_limited' })
      desk.send({ kind: 'chunk', id, i: 0, l: true, t: 'yes' })
      desk.step(50)
    }
    expect(desk.command(9, ERROR).value).toBe(0)
  })

  it('gives back values as they were, of the precision that it has', () => {
    const desk = exam()
    desk.join()
    const values = [0, 23, 24, 255, 65_535, 1_000_000, -1, -300, 21.5, 21.3, -0.1, 1e-30, 6.5e7, true, false, 'open']
    const back = values.map((value, at) => desk.command(at + 1, ECHO, value).value)
    const single = (value: unknown): unknown =>
      typeof value === 'number' && !Number.isInteger(value) ? Math.fround(value) : value
    expect(back).toEqual(values.map(single))
  })

  it('asks for a piece again that was lost, and for none that it has', () => {
    const desk = exam()
    desk.join()
    desk.command(1, ASK, 30)
    const chunk = (i: number, t: string, l = false): void => desk.send({ kind: 'chunk', id: 1, i, l, t })
    const credit = (): number => (desk.step(50), desk.last('credit')!.next)
    chunk(0, 'one ')
    expect(credit()).toBe(1)
    chunk(2, 'three ')
    expect(credit()).toBe(1)
    chunk(0, 'one ')
    expect(credit()).toBe(1)
    chunk(1, 'two', true)
    expect(credit()).toBe(2)
    chunk(1, 'two', true)
    expect(credit()).toBe(2)
    expect(desk.command(2, CRC).value).toBe(crc16(new TextEncoder().encode('one two')))
  })

  // one byte in a thousand, in a hundred, and in thirty, both ways
  it.each([
    [0.001, 11],
    [0.01, 12],
    [0.03, 13],
  ])('is right about everything with %d of all bytes wrong', (rate, seed) => {
    const desk = exam({ rate, seed })
    expect(desk.join(60_000)).toBe(true)
    let times = 0
    for (let id = 1; id <= 12; id++) {
      const counted = desk.command(id, COUNT)
      expect(counted).toMatchObject({ ok: true, value: id })
      times += counted.times
    }
    desk.command(13, ASK, 40)
    const text = ANSWER.slice(0, 96)
    expect(desk.answer(piecesOf(text, 16))).toBe(true)
    expect(desk.command(14, BYTES).value).toBe(96)
    expect(desk.command(15, CRC).value).toBe(crc16(new TextEncoder().encode(text)))
    // it was noisy indeed
    if (rate >= 0.03) expect(times).toBeGreaterThan(12)
    if (rate >= 0.01) expect(desk.decoder.counts.bad).toBeGreaterThan(0)
  })
})
