/** What a gateway says when it refuses is kept, in each of the shapes that its routes have. */
import { expect, it } from 'vitest'
import { refusal, sdk } from './harness.ts'

it.each([
  ['an error of the mesh', refusal(404, 'not_found'), { message: 'it is not_found', code: 'not_found', status: 404 }],
  [
    'a text alone, as below /api',
    () => Response.json({ error: 'skein-tiny is not in the store' }, { status: 400 }),
    { message: 'skein-tiny is not in the store', code: 'unknown', status: 400 },
  ],
  ['no words', () => Response.json({ error: '' }, { status: 400 }), { message: 'status 400', status: 400 }],
  ['no JSON', () => new Response('<html>', { status: 400 }), { message: 'status 400', status: 400 }],
] as const)('%s', async (_, reply, said) => {
  const { skein } = sdk([reply])
  await expect(skein.request({ method: 'DELETE', path: '/api/delete' })).rejects.toMatchObject(said)
})
