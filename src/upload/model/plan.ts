/**
 * The plan: where one part ends and the next begins. It is a pure function of base size, cap and
 * offset, so that every run, today's or next week's in another process, cuts the same stream at the
 * same bytes: only then can a part on OSS be recognised by its number, size and CRC64 (rule 4).
 */

export const KIB = 1024
export const MIB = 1024 * KIB
export const GIB = 1024 * MIB

/** OSS's limits for multipart uploads (OSS documentation, "Multipart upload" and "Limits"). */
export const MIN_PART_SIZE = 100 * KIB
export const MAX_PART_SIZE = 5 * GIB
export const MAX_PARTS = 10_000

/** From here on parts grow: a part is never smaller than this fraction of what came before it. */
const GROWTH_DIVISOR = 500

/** What a checkpoint stores of the plan; `version` names this file's rule. */
export interface Plan {
  readonly version: 1
  /** Size of the first parts, in bytes. */
  readonly base: number
  /** No part is larger, in bytes; equal to `base`: all parts have one size. */
  readonly cap: number
}

/** A part: its bytes are `[start, start + size)` of the stream. */
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

/** A part that OSS has, as Complete names it. */
export interface DonePart {
  readonly number: number
  readonly etag: string
}

/**
 * The plan for a stream.
 * Unknown length: parts grow with the offset, so that more than 30 TB fit into 10,000 parts.
 * Known length (`size`): one size for all parts, the base size or the smallest whole MiB that fits.
 * @param most no part is larger, in bytes
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
 * No part of a spool that is bounded to `maxSpoolBytes` is larger than this: while `parallel` parts
 * are in flight, one more is being filled.
 */
export function maxPartSizeFor(maxSpoolBytes: number, parallel: number): number {
  return Math.min(MAX_PART_SIZE, Math.floor(maxSpoolBytes / (parallel + 1)))
}

/** Size of the part that begins at byte `start`. */
export function partSizeAt(plan: Plan, start: number): number {
  const grown =
    start <= plan.base * GROWTH_DIVISOR
      ? plan.base
      : roundUp(Math.ceil(start / GROWTH_DIVISOR), MIB)
  return Math.min(Math.max(plan.base, grown), Math.max(plan.cap, plan.base))
}

/** The first part of every stream, still without an end. */
export function firstPart(plan: Plan): Part {
  return { number: 1, start: 0, size: partSizeAt(plan, 0) }
}

/** The part after `part`. */
export function nextPart(plan: Plan, part: Part): Part {
  const start = part.start + part.size
  return { number: part.number + 1, start, size: partSizeAt(plan, start) }
}

/** All parts of a stream of `size` bytes; the last one is cut at its end. None for 0 bytes. */
export function partsOf(plan: Plan, size: number): Part[] {
  const parts: Part[] = []
  for (let part = firstPart(plan); part.start < size; part = nextPart(plan, part)) {
    parts.push({ ...part, size: Math.min(part.size, size - part.start) })
  }
  return parts
}

/** The size all parts but the last have, or `undefined` when the plan has begun to grow. */
export function uniformPartSize(plan: Plan, size: number): number | undefined {
  return plan.cap === plan.base || size <= plan.base * (GROWTH_DIVISOR + 1) ? plan.base : undefined
}

/** The largest stream that goes by one PutObject from memory, in bytes. */
const MAX_PUT_BYTES = 16 * MIB

/** True for a stream that ends within its first part: PutObject, with Content-MD5. */
export function isSinglePut(plan: Plan, size: number): boolean {
  return size <= Math.min(partSizeAt(plan, 0), MAX_PUT_BYTES)
}

function roundUp(value: number, unit: number): number {
  return Math.ceil(value / unit) * unit
}
