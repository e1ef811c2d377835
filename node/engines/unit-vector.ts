/** Vectors as the port gives them: of length 1, little-endian float32. */
import { LIMITS, SkeinError } from '../../mesh/protocol/index.ts'

/**
 * The first `dimensions` numbers, brought to length 1.
 *
 * @throws SkeinError INVALID_REQUEST when there are fewer; ENGINE_FAILED when they are too many, or no length can be made 1.
 */
export function unitVector(vector: ArrayLike<number>, dimensions: number = vector.length): Uint8Array {
  if (dimensions > vector.length)
    throw new SkeinError(
      'INVALID_REQUEST',
      `the model gives ${vector.length} numbers, and ${dimensions} were asked for`,
      {
        param: 'dimensions',
      },
    )
  if (dimensions > LIMITS.embeddingDimensionsMax)
    throw new SkeinError('ENGINE_FAILED', `the model gives vectors of ${dimensions} numbers`)
  let squares = 0
  for (let i = 0; i < dimensions; i++) squares += vector[i]! * vector[i]!
  const length = Math.sqrt(squares)
  if (!Number.isFinite(length) || length === 0)
    throw new SkeinError('ENGINE_FAILED', `the model gives a vector of the length ${length}`)
  const bytes = Buffer.alloc(4 * dimensions)
  for (let i = 0; i < dimensions; i++) bytes.writeFloatLE(vector[i]! / length, 4 * i)
  return new Uint8Array(bytes)
}
