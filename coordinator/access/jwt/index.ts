/** Tokens of other providers, as callers. */
export { JWT_TENANT } from './claims.ts'
export { readJwtSettings, type JwtProvider } from './settings.ts'
export { looksLikeJwt, JwtBook, type JwtCaller } from './jwt-book.ts'
