/**
 * Where a server that runs already is, and what its models are called in this mesh. A model of such a server is given to
 * the engine as `upstream:URL#MODEL`, with `&weights=FILE` behind it where its weights are a file of this machine, or with
 * `&serves=DIGEST` where it stands in for a model of the mesh, and `&vocabulary=FILE` behind that where the file of that model
 * is on this machine. In the name of the model `%` and `&` stand as in a query of a URL.
 */
import { createHash } from 'node:crypto'
import { BlockList, isIP } from 'node:net'
import { asModelDigest, SkeinError, type ModelDigest } from '../../../mesh/protocol/index.ts'
import type { Endpoint } from './endpoint.ts'

export interface UpstreamAddress {
  /** Of the server, without a path of the API and without a slash at its end. */
  readonly url: string
  /** As the server calls it. */
  readonly model: string
  /** The GGUF file that the server was seen to have loaded, or to load when it is asked for the model. */
  readonly weights?: string
  /** The model of the mesh that it stands in for. */
  readonly serves?: ModelDigest
  /** The GGUF file of that one, of which only the vocabulary and the chat template are used. */
  readonly vocabulary?: string
}

/** A server that the owner named. */
export interface NamedServer {
  readonly url: string
  /** Sent as a bearer token, to this server alone. */
  readonly key?: string
  /** Names of models at the server: only these are offered. All when absent. */
  readonly models?: readonly string[]
  /**
   * Models of the mesh that its models stand in for, by their names at the server: a digest, the path of a GGUF file of this
   * machine, or a name of the mesh.
   */
  readonly serves?: Readonly<Record<string, string>>
  /** Answers that it makes together, as its owner says; what is known of its kind when absent. */
  readonly slots?: number
  /** Of a server somewhere else, which its owner named as such: how it is asked. */
  readonly endpoint?: Endpoint
}

const SCHEME = 'upstream:'
const URL_LENGTH_MAX = 512
const PATH_LENGTH_MAX = 8192

/** Ollama, LM Studio, llama-server, and vLLM or llama-cpp-python's server, on this machine. */
export const USUAL_SERVERS: readonly string[] = [11_434, 1234, 8080, 8000].map((port) => `http://127.0.0.1:${port}`)

const escaped = (text: string): string => text.replaceAll(/[%&]/g, (character) => encodeURIComponent(character))

export function upstreamPath({ url, model, weights, serves, vocabulary }: UpstreamAddress): string {
  const more = Object.entries({ weights, serves, vocabulary }).flatMap(([key, value]) =>
    value === undefined ? [] : [`&${key}=${escaped(value)}`],
  )
  return `${SCHEME}${url}#${escaped(model)}${more.join('')}`
}

/** @throws SkeinError MODEL_FILE_INVALID for what is no such path. */
export function parseUpstreamPath(path: string): UpstreamAddress {
  const invalid = (): SkeinError =>
    new SkeinError('MODEL_FILE_INVALID', `${path.slice(0, URL_LENGTH_MAX)}: not upstream:URL#MODEL`)
  const [, url, model, weights, serves, vocabulary] =
    /^upstream:([^#]+)#([^&]+)(?:&weights=([^&]+))?(?:&serves=([^&]+))?(?:&vocabulary=([^&]+))?$/.exec(path) ?? []
  if (url === undefined || model === undefined || path.length > PATH_LENGTH_MAX) throw invalid()
  try {
    return {
      url: serverUrl(url),
      model: decodeURIComponent(model),
      ...(weights !== undefined && { weights: decodeURIComponent(weights) }),
      ...(serves !== undefined && { serves: asModelDigest(decodeURIComponent(serves)) }),
      ...(vocabulary !== undefined && { vocabulary: decodeURIComponent(vocabulary) }),
    }
  } catch (error) {
    throw error instanceof SkeinError ? error : invalid()
  }
}

/**
 * The address of a server as it is kept: `/v1`, which programs show with it, and slashes at its end are left out.
 *
 * @throws SkeinError CONFIG_INVALID saying what is wrong with it.
 */
export function serverUrl(text: string): string {
  const invalid = (why: string): SkeinError =>
    new SkeinError('CONFIG_INVALID', `the upstream server ${JSON.stringify(text.slice(0, URL_LENGTH_MAX))}: ${why}`)
  if (text.length > URL_LENGTH_MAX || !URL.canParse(text)) throw invalid('no URL, such as http://127.0.0.1:11434')
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw invalid('only http: and https: are known')
  if (url.username !== '' || url.password !== '')
    throw invalid('a key is given by the name of a variable: URL,VARIABLE')
  if (url.search !== '' || url.hash !== '') throw invalid('nothing may follow its path')
  return url.origin + url.pathname.replace(/\/+$/, '').replace(/\/v1$/, '')
}

/** Addresses of this machine. */
const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8)
LOOPBACK.addAddress('::1', 'ipv6')
/** Addresses that no machine of another owner has on the internet. */
const PRIVATE = new BlockList()
for (const [network, bits] of [
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['169.254.0.0', 16],
  ['100.64.0.0', 10],
] as const)
  PRIVATE.addSubnet(network, bits)
PRIVATE.addSubnet('fc00::', 7, 'ipv6')
PRIVATE.addSubnet('fe80::', 10, 'ipv6')

const hostOf = (url: string): string => new URL(url).hostname.replace(/^\[|\]$/g, '')
const isIn = (list: BlockList, host: string): boolean => {
  const version = isIP(host)
  return version !== 0 && list.check(host, version === 6 ? 'ipv6' : 'ipv4')
}

/** Whether a server is on this machine: only then do paths that it tells name files here. */
export function isOnThisMachine(url: string): boolean {
  const host = hostOf(url)
  return host === 'localhost' || isIn(LOOPBACK, host)
}

/** Whether a server is on this machine or in its owner's network, as far as an address tells. */
export function isOnOwnNetwork(url: string): boolean {
  const host = hostOf(url)
  if (isOnThisMachine(url) || isIn(PRIVATE, host)) return true
  return isIP(host) === 0 && (!host.includes('.') || /\.(?:local|lan|home\.arpa|internal)$/.test(host))
}

/**
 * The identity of a model whose weights nobody here can read. Its server's own digest of it, where it has one, stands for
 * the weights; without one the model is that of this server alone, since a name proves nothing. It is no digest of any
 * file, so that such a model is never taken for one whose weights are known.
 *
 * @param owner the peer id of the node.
 */
export function upstreamDigest(model: {
  readonly kind: string
  readonly name: string
  readonly reported?: string
  readonly url: string
  readonly owner: string
}): ModelDigest {
  const { kind, name, reported, url, owner } = model
  const parts = reported === undefined ? ['at', kind, name, url, owner] : ['reported', kind, name, reported]
  return asModelDigest(
    `sha256:${createHash('sha256')
      .update(JSON.stringify(['skein-upstream-1', ...parts]))
      .digest('hex')}`,
  )
}
