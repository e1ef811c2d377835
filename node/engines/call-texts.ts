/** What writes the calls of each syntax in the markup that is ours. */
import type { Tool } from '../../mesh/protocol/index.ts'
import type { CallSyntax, CallText, MarkedSyntax } from './call-text.ts'
import { CHANNEL_TOKENS, ChannelText } from './channel-text.ts'
import { MarkedCallText, markOf, tokensOf } from './marked-calls.ts'
import { ParameterCallText } from './parameter-calls.ts'
import { PlainCallText } from './plain-calls.ts'

export const isMarked = (syntax: CallSyntax): syntax is MarkedSyntax =>
  syntax !== 'tagged' && syntax !== 'plain' && syntax !== 'parameters' && syntax !== 'channels'

/** For one answer that may call `tools`; `undefined` where nothing is to be written otherwise. */
export function callTextOf(syntax: CallSyntax, tools: readonly Tool[]): CallText | undefined {
  if (isMarked(syntax)) return new MarkedCallText(syntax)
  if (syntax === 'parameters') return new ParameterCallText(tools)
  if (syntax === 'channels') return new ChannelText()
  return syntax === 'plain' ? new PlainCallText() : undefined
}

/** Words of such calls that are part of an answer's text, though a vocabulary may have special tokens for them. */
export function callTokens(syntax: CallSyntax): readonly string[] {
  if (syntax === 'channels') return CHANNEL_TOKENS
  return isMarked(syntax) ? tokensOf(syntax) : []
}

export { markOf }
