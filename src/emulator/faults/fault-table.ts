/**
 * The faults in force. Which of them meet a request is decided once, when its headers are in, so
 * that counting does not depend on how requests overlap later.
 */
import type { OperationName } from '../operations/name.js'
import { momentOf, type Fault, type FaultHandle } from './fault.js'

/** What faults can match on. */
export interface RequestFacts {
  readonly operation: OperationName
  readonly bucket: string | undefined
  readonly key: string | undefined
  readonly partNumber: number | undefined
}

/** A fault that meets a request. */
export interface Firing {
  readonly fault: Fault
  /** To be called when its moment is reached. */
  hit(): void
  /** Resolves when hanging requests are to go on. */
  released(): Promise<void>
}

/** The table. */
export interface FaultTable {
  inject(fault: Fault): FaultHandle
  /** The faults that meet this request, in the order of the table. */
  meet(request: RequestFacts): Firing[]
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
    meet: request => [...rows].filter(row => row.meets(request)).map(row => row.firing),
    list: () => [...rows].map(row => row.handle),
    clear: () => rows.forEach(row => row.handle.remove()),
  }
}

function createRow(fault: Fault, drop: () => void) {
  const { nth = 1, probability = 1, seed = 1 } = fault
  const times = fault.times ?? (fault.probability === undefined ? 1 : 'always')
  const random = randomFrom(seed)
  const waiting = new Set<{ count: number; resolve: () => void }>()
  const hanging = new Set<() => void>()
  let matched = 0
  let met = 0
  let hits = 0

  const release = () => {
    for (const resume of hanging) resume()
    hanging.clear()
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
        else waiting.add({ count, resolve })
      }),
    release,
    remove() {
      removed = true
      drop()
      release()
    },
  }
  return {
    handle,
    firing: {
      fault,
      hit() {
        hits++
        for (const waiter of waiting)
          if (hits >= waiter.count) {
            waiting.delete(waiter)
            waiter.resolve()
          }
      },
      released: () =>
        new Promise<void>(resolve => {
          if (removed) resolve()
          else hanging.add(resolve)
        }),
    } satisfies Firing,
    meets(request: RequestFacts): boolean {
      if (!matches(fault, request)) return false
      matched++
      if (matched < nth) return false
      if (times !== 'always' && met >= times) return false
      if (probability < 1 && random() >= probability) return false
      met++
      return true
    },
  }
}

/** Whether a fault is about this request, counts and chance aside. Pure. */
export function matches(fault: Fault, request: RequestFacts): boolean {
  return (
    includes(fault.operation, request.operation) &&
    includes(fault.bucket, request.bucket) &&
    includes(fault.key, request.key) &&
    includes(fault.partNumber, request.partNumber)
  )
}

function includes<T>(wanted: T | readonly T[] | undefined, value: T | undefined): boolean {
  if (wanted === undefined) return true
  if (value === undefined) return false
  return isArray(wanted) ? wanted.includes(value) : wanted === value
}

// Array.isArray() does not narrow readonly arrays
function isArray<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value)
}

/** Random numbers in [0, 1) that depend on the seed alone (mulberry32). */
export function randomFrom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** A short name for the log: what it did and when. */
export function labelOf(fault: Fault): string {
  return `${fault.do}@${momentOf(fault)}`
}
