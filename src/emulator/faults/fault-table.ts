/**
 * The faults in force. Which of them meet a request is decided once, when its headers are in, so
 * that counting does not depend on how requests overlap later.
 */
import type { OperationName } from '../operations/operation-name.js'
import { faultPointOf, type Fault, type FaultHandle } from './fault.js'

/** What faults can match on. */
export interface MatchableRequest {
  readonly operation: OperationName
  readonly bucket: string | undefined
  readonly key: string | undefined
  readonly partNumber: number | undefined
}

/** A fault that meets a request. */
export interface MatchedFault {
  readonly fault: Fault
  /** To be called when its moment is reached. */
  recordHit(): void
  /** Resolves when hanging requests are to go on. */
  waitForRelease(): Promise<void>
}

/** The table. */
export interface FaultTable {
  inject(fault: Fault): FaultHandle
  /** The faults that meet this request, in the order of the table. */
  match(request: MatchableRequest): MatchedFault[]
  /** All handles, in order. */
  list(): FaultHandle[]
  /** Empties the table and releases everything. */
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

/** Whether a fault is about this request, counts and chance aside. Pure. */
export function matchesRequest(fault: Fault, request: MatchableRequest): boolean {
  return (
    matchesField(fault.operation, request.operation) &&
    matchesField(fault.bucket, request.bucket) &&
    matchesField(fault.key, request.key) &&
    matchesField(fault.partNumber, request.partNumber)
  )
}

function matchesField<T>(wanted: T | readonly T[] | undefined, value: T | undefined): boolean {
  if (wanted === undefined) return true
  if (value === undefined) return false
  return isReadonlyArray(wanted) ? wanted.includes(value) : wanted === value
}

// Array.isArray() does not narrow readonly arrays
function isReadonlyArray<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value)
}

/** Random numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function createSeededRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A short name for the log: what it did and when. */
export function faultLabel(fault: Fault): string {
  return `${fault.do}@${faultPointOf(fault)}`
}
