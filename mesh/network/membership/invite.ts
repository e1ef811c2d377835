/** The text of an invite: `skein1` and the base64url form of its CBOR. Whoever holds it may join. */
import {
  canonicalBytes,
  INVITE_PREFIX,
  LIMITS,
  parseInvite,
  readCanonical,
  SkeinError,
  type Invite,
} from '../../protocol/index.ts'

/** @throws SkeinError INVITE_INVALID for an invite over `inviteTextBytesMax`. */
export function encodeInvite(invite: Invite): string {
  const text = INVITE_PREFIX + Buffer.from(canonicalBytes(invite)).toString('base64url')
  if (text.length > LIMITS.inviteTextBytesMax)
    throw new SkeinError('INVITE_INVALID', 'the invite has too many addresses to be shown as text')
  return text
}

/** @throws SkeinError INVITE_INVALID. */
export function decodeInvite(text: string): Invite {
  const trimmed = text.trim()
  if (!trimmed.startsWith(INVITE_PREFIX) || trimmed.length > LIMITS.inviteTextBytesMax)
    throw new SkeinError('INVITE_INVALID', `an invite begins with ${INVITE_PREFIX}; copy the whole of it`)
  const body = trimmed.slice(INVITE_PREFIX.length)
  if (!/^[A-Za-z0-9_-]+$/.test(body))
    throw new SkeinError('INVITE_INVALID', 'the invite has characters that are not its own; copy the whole of it')
  return parseInvite(readCanonical(new Uint8Array(Buffer.from(body, 'base64url'))))
}
