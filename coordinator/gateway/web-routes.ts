/**
 * The web page at the gateway. It is asked before any route and any key: `/` is the page to a browser and Ollama's greeting
 * to its tools, and a page tells nothing of this mesh or of anybody in it.
 */
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Page } from '../../mesh/page/index.ts'

/** Whether the request was one for the page; it is answered then. */
export async function sendPage(page: Page, { raw }: FastifyRequest, reply: FastifyReply): Promise<boolean> {
  const answer = await page.answer({ method: raw.method ?? '', url: raw.url ?? '', headers: raw.headers })
  if (answer === undefined) return false
  void reply.code(answer.status).headers(answer.headers).send(answer.body)
  return true
}
