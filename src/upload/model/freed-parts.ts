/**
 * Freed parts: parts whose bytes are no longer in the temp file. A checkpoint stores them as runs of part
 * numbers `[first, last]`, in order, with a gap between any two. Pure functions.
 */
import { partsOf, type Part, type Plan } from './plan.js'

export type FreedRanges = readonly (readonly [first: number, last: number])[]

/** OSS lost parts that it had acknowledged and that were freed here, so no copy of their bytes is left. */
export class BytesLostError extends Error {}

/** The fields of a record that these functions use. */
interface HasFreed {
  readonly freed?: FreedRanges
}

/** True when some bytes are only on OSS and so cannot be sent again. */
export function hasFreedParts(record: HasFreed): boolean {
  return record.freed !== undefined && record.freed.length > 0
}

export function isFreed(freed: FreedRanges | undefined, number: number): boolean {
  return freed?.some(([first, last]) => first <= number && number <= last) ?? false
}

/** Returns the freed parts within the first `size` bytes. */
export function freedParts(
  { plan, freed }: HasFreed & { readonly plan: Plan },
  size: number,
): Part[] {
  if (freed === undefined) return []
  return partsOf(plan, size).filter(({ number }) => isFreed(freed, number))
}

/** Returns `freed` with `parts` added, merged into runs. */
export function addFreed(
  freed: FreedRanges,
  parts: readonly { readonly number: number }[],
): FreedRanges {
  const runs = [...freed, ...parts.map(({ number }) => [number, number] as const)]
  const merged: [number, number][] = []
  for (const [first, last] of runs.toSorted(([a], [b]) => a - b)) {
    const before = merged.at(-1)
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last)
    else merged.push([first, last])
  }
  return merged
}
