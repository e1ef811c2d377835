/** The certificate of a node's door for models. */
import { X509Certificate } from 'node:crypto'
import { expect, it } from 'vitest'
import { makeSelfSigned } from '../../../mesh/certificates/index.ts'
import { ManualClock, SystemRandom } from '../../../mesh/runtime/index.ts'
import { pemOf } from '../../../node/models/share/pem.ts'

it('is one that others read, signed by its own key, another each time', async () => {
  const nowMs = new ManualClock().wallMs()
  const init = { subject: 'skein', fromMs: nowMs - 1000, untilMs: nowMs + 60_000 }
  const [one, two] = [await makeSelfSigned(new SystemRandom(), init), await makeSelfSigned(new SystemRandom(), init)]
  const read = new X509Certificate(one.cert)
  expect([read.verify(read.publicKey), read.ca]).toEqual([true, false])
  expect([read.subject, read.issuer]).toEqual(['CN=skein', 'CN=skein'])
  expect([Date.parse(read.validFrom), Date.parse(read.validTo)]).toEqual(
    [init.fromMs, init.untilMs].map((atMs) => Math.floor(atMs / 1000) * 1000),
  )
  expect(new X509Certificate(pemOf(read.raw)).fingerprint256).toBe(read.fingerprint256)
  expect(two.cert).not.toBe(one.cert)
})
