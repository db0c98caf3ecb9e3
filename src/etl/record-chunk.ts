/** Chunks of the sink: single records, and arrays of records such as those of `batch()` of `stream-chain`. */

/** What one `write()` takes: a record or an array of records. If records are arrays, only a record. */
export type RecordChunk<T> = [T] extends [readonly unknown[]] ? T : T | readonly T[]

/** Returns the records of a chunk, in an array that the caller of `write()` does not share. */
export type ChunkReader<T> = (chunk: T | readonly T[]) => readonly T[]

/** For records that are not arrays. */
export function recordsOfChunk<T>(chunk: T | readonly T[]): readonly T[] {
  // An array is not a record here.
  return Array.isArray(chunk) ? (chunk.slice() as readonly T[]) : [chunk as T]
}

/** For records that are arrays. */
export function recordOfChunk<T>(chunk: T | readonly T[]): readonly T[] {
  return [chunk as T] // never an array of records: see `RecordChunk`
}
