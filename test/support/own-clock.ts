/**
 * A clock of its own for whatever runs under it: a pause takes no time, is written down, and the clock
 * goes on by what it was to take; jitter is always half. Sockets, disks and time limits stay real, and
 * so does everything else in the process, such as the emulator.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'
import timers from 'node:timers/promises'
import type { Test } from 'tap'

export interface OwnClock {
  /** ms of each pause. */
  readonly pauses: number[]
  /** ms that have gone by in pauses. */
  passed: number
  run<T>(work: () => Promise<T>): Promise<T>
}

const current = new AsyncLocalStorage<OwnClock>()

/** Lets clocks be made until the test is over. */
export function useOwnClocks(t: Test): void {
  const { setTimeout: sleep } = timers
  const now = performance.now.bind(performance)
  const random = Math.random.bind(Math)
  const replace = (by: Partial<typeof timers>, of: () => number, chance: () => number): void => {
    Object.assign(timers, by)
    performance.now = of
    Math.random = chance
    syncBuiltinESMExports() // for those who imported it by name
  }
  const pause = async <T>(ms?: number, value?: T, options?: object): Promise<T> => {
    const clock = current.getStore()
    if (clock === undefined || ms === undefined) return sleep(ms, value, options)
    clock.pauses.push(ms)
    clock.passed += ms
    return sleep(0, value, options)
  }
  replace(
    { setTimeout: pause },
    () => now() + (current.getStore()?.passed ?? 0),
    () => (current.getStore() === undefined ? random() : 0.5),
  )
  t.teardown(() => replace({ setTimeout: sleep }, now, random))
}

export function ownClock(): OwnClock {
  const clock: OwnClock = {
    pauses: [],
    passed: 0,
    run: work => current.run(clock, work),
  }
  return clock
}
