/**
 * The plan: the boundaries of the parts of a stream. It is a pure function of base size, cap and offset, so
 * that every run, also next week in another process, cuts the same stream at the same bytes. Only then can a
 * part on OSS be recognised by its number, size and CRC64 (rule 4).
 */

export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB

/** OSS's limits for multipart uploads (OSS documentation, "Multipart upload" and "Limits"). */
export const MIN_PART_SIZE = 100 * KIB
export const MAX_PART_SIZE = 5 * GIB
export const MAX_PARTS = 10_000

/** Parts grow so that each has at least 1/500 of the bytes before it. */
const GROWTH_DIVISOR = 500

/** The plan as a checkpoint stores it. `version` identifies the algorithm in this file. */
export interface Plan {
  readonly version: 1
  /** Size of the first parts, in bytes. */
  readonly base: number
  /** Upper limit of the part size, in bytes. If equal to `base`, all parts have the same size. */
  readonly cap: number
}

/** A part: the bytes `[start, start + size)` of the stream. */
export interface Part {
  /** 1 to 10,000. */
  readonly number: number
  readonly start: number
  readonly size: number
}

/** A part whose bytes are in the temp file. */
export interface CutPart extends Part {
  readonly crc64: bigint
}

/** A part that OSS has, as listed in Complete. */
export interface DonePart {
  readonly number: number
  readonly etag: string
}

/**
 * Returns the plan for a stream. If its length is unknown, parts grow with the offset, so that more than 30 TB
 * fit into 10,000 parts. If it is known, all parts have the same size: the base size, or the smallest whole MiB
 * that fits.
 * @param size – length of the stream in bytes, if known
 * @param most – upper limit of the part size, in bytes
 * @throws RangeError when `size` cannot be stored in 10,000 parts of `most` bytes
 */
export function createPlan(base: number, size?: number, most = MAX_PART_SIZE): Plan {
  const first = Math.min(base, most)
  if (size === undefined) return { version: 1, base: first, cap: most }
  if (size > most * MAX_PARTS) {
    throw new RangeError(`${size} bytes are more than ${MAX_PARTS} parts of ${most} bytes`)
  }
  const fitting = Math.max(first, roundUp(Math.ceil(size / MAX_PARTS), MIB))
  const uniform = size <= first * MAX_PARTS ? first : Math.min(fitting, most)
  return { version: 1, base: uniform, cap: uniform }
}

/**
 * Returns the largest part size with which `parallel` parts in flight and one part being filled fit into
 * `maxSpoolBytes`.
 */
export function maxPartSizeFor(maxSpoolBytes: number, parallel: number): number {
  return Math.min(MAX_PART_SIZE, Math.floor(maxSpoolBytes / (parallel + 1)))
}

/** Returns the size of the part that starts at byte `start`. */
export function partSizeAt(plan: Plan, start: number): number {
  const grown =
    start <= plan.base * GROWTH_DIVISOR
      ? plan.base
      : roundUp(Math.ceil(start / GROWTH_DIVISOR), MIB)
  return Math.min(Math.max(plan.base, grown), Math.max(plan.cap, plan.base))
}

/** Returns the first part of a stream whose end is not known yet. */
export function firstPart(plan: Plan): Part {
  return { number: 1, start: 0, size: partSizeAt(plan, 0) }
}

/** Returns the part after `part`. */
export function nextPart(plan: Plan, part: Part): Part {
  const start = part.start + part.size
  return { number: part.number + 1, start, size: partSizeAt(plan, start) }
}

/** Returns all parts of a stream of `size` bytes; the last one ends with the stream. None for 0 bytes. */
export function partsOf(plan: Plan, size: number): Part[] {
  const parts: Part[] = []
  for (let part = firstPart(plan); part.start < size; part = nextPart(plan, part)) {
    parts.push({ ...part, size: Math.min(part.size, size - part.start) })
  }
  return parts
}

/** Returns the size of all parts except the last, or `undefined` if parts have different sizes. */
export function uniformPartSize(plan: Plan, size: number): number | undefined {
  return plan.cap === plan.base || size <= plan.base * (GROWTH_DIVISOR + 1) ? plan.base : undefined
}

/** Largest stream that is sent with one PutObject from memory, in bytes. */
const MAX_PUT_BYTES = 16 * MIB

/** True for a short stream that ends within its first part; it is sent with PutObject and Content-MD5. */
export function isSinglePut(plan: Plan, size: number): boolean {
  return size <= Math.min(partSizeAt(plan, 0), MAX_PUT_BYTES)
}

/** Number of parts of a stream of `size` bytes; 1 for a single PutObject. */
export function plannedPartCount(plan: Plan, size: number): number {
  return isSinglePut(plan, size) ? 1 : partsOf(plan, size).length
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}
