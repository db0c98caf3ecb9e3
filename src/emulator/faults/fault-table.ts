/**
 * The injected faults. They are matched to a request once, when its headers have arrived, so that counts
 * do not depend on how requests overlap later.
 */
import type { OperationName } from '../operations/operation-name.js'
import { faultPointOf, type Fault, type FaultHandle } from './fault.js'

/** Properties of a request that faults match on. */
export interface MatchableRequest {
  readonly operation: OperationName
  readonly bucket: string | undefined
  readonly key: string | undefined
  readonly partNumber: number | undefined
}

/** A fault that applies to a request. */
export interface MatchedFault {
  readonly fault: Fault
  /** Counts a hit; to be called when the fault fires. */
  recordHit(): void
  /** Resolves when hanging requests may resume. */
  waitForRelease(): Promise<void>
}

/** A table of faults. */
export interface FaultTable {
  inject(fault: Fault): FaultHandle
  /** Returns the faults that apply to this request, in the order of the table, and counts the match. */
  match(request: MatchableRequest): MatchedFault[]
  /** Returns all handles, in order. */
  list(): FaultHandle[]
  /** Removes all faults and releases the requests that hang on them. */
  clear(): void
}

export function createFaultTable(): FaultTable {
  const rows = new Set<ReturnType<typeof createRow>>()
  return {
    inject(fault) {
      const row = createRow(fault, () => rows.delete(row))
      rows.add(row)
      return row.handle
    },
    match: request => [...rows].filter(row => row.selects(request)).map(row => row.matchedFault),
    list: () => [...rows].map(row => row.handle),
    clear: () => rows.forEach(row => row.handle.remove()),
  }
}

function createRow(fault: Fault, deleteRow: () => void) {
  const { nth = 1, probability = 1, seed = 1 } = fault
  const times = fault.times ?? (fault.probability === undefined ? 1 : 'always')
  const random = createSeededRandom(seed)
  const hitWaiters = new Set<{ count: number; resolve: () => void }>()
  const releaseWaiters = new Set<() => void>()
  let matchCount = 0
  let selectedCount = 0
  let hits = 0

  const release = () => {
    for (const resume of releaseWaiters) resume()
    releaseWaiters.clear()
  }
  let removed = false
  const handle: FaultHandle = {
    fault,
    get hits() {
      return hits
    },
    hit: (count = 1) =>
      new Promise(resolve => {
        if (hits >= count) resolve()
        else hitWaiters.add({ count, resolve })
      }),
    release,
    remove() {
      removed = true
      deleteRow()
      release()
    },
  }
  return {
    handle,
    matchedFault: {
      fault,
      recordHit() {
        hits++
        for (const waiter of hitWaiters)
          if (hits >= waiter.count) {
            hitWaiters.delete(waiter)
            waiter.resolve()
          }
      },
      waitForRelease: () =>
        new Promise<void>(resolve => {
          if (removed) resolve()
          else releaseWaiters.add(resolve)
        }),
    } satisfies MatchedFault,
    selects(request: MatchableRequest): boolean {
      if (!matchesRequest(fault, request)) return false
      matchCount++
      if (matchCount < nth) return false
      if (times !== 'always' && selectedCount >= times) return false
      if (probability < 1 && random() >= probability) return false
      selectedCount++
      return true
    },
  }
}

/** Returns whether a fault matches this request, regardless of counts and probability. Pure. */
export function matchesRequest(fault: Fault, request: MatchableRequest): boolean {
  return (
    matchesField(fault.operation, request.operation) &&
    matchesField(fault.bucket, request.bucket) &&
    matchesField(fault.key, request.key) &&
    matchesField(fault.partNumber, request.partNumber)
  )
}

function matchesField<T>(expected: T | readonly T[] | undefined, value: T | undefined): boolean {
  if (expected === undefined) return true
  if (value === undefined) return false
  return isReadonlyArray(expected) ? expected.includes(value) : expected === value
}

// Array.isArray() does not narrow readonly arrays
function isReadonlyArray<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value)
}

/** Creates a generator of random numbers in [0, 1) that depend only on the seed (mulberry32). */
export function createSeededRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Returns a label for the log, made of action and point. */
export function faultLabel(fault: Fault): string {
  return `${fault.do}@${faultPointOf(fault)}`
}
