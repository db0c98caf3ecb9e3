/**
 * A virtual clock for the code that runs under it, which only pauses advance: a pause takes no time, is recorded, and
 * advances the clock by its duration. Jitter is always 0.5. Sockets, disks and time limits stay real, as does
 * everything else in the process, such as the emulator.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import { syncBuiltinESMExports } from 'node:module'
import timers from 'node:timers/promises'
import type { Test } from 'tap'

export interface OwnClock {
  /** Duration of each pause, in ms. */
  readonly pauses: number[]
  /** `performance.now()` when it was created, rounded up to a ms. */
  readonly startedAt: number
  /** Total duration of all pauses, in ms. */
  passed: number
  run<T>(work: () => Promise<T>): Promise<T>
}

const current = new AsyncLocalStorage<OwnClock>()

/** Installs the hooks that virtual clocks need, until the test ends. */
export function useOwnClocks(t: Test): void {
  const { setTimeout: sleep } = timers
  const now = performance.now.bind(performance)
  const random = Math.random.bind(Math)
  const replace = (by: Partial<typeof timers>, of: () => number, chance: () => number): void => {
    Object.assign(timers, by)
    performance.now = of
    Math.random = chance
    syncBuiltinESMExports() // for modules that import it by name
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
    () => {
      const clock = current.getStore()
      return clock === undefined ? now() : clock.startedAt + clock.passed
    },
    () => (current.getStore() === undefined ? random() : 0.5),
  )
  t.teardown(() => replace({ setTimeout: sleep }, now, random))
}

export function ownClock(): OwnClock {
  const clock: OwnClock = {
    pauses: [],
    // Whole ms, so that sums of pauses are exact.
    startedAt: Math.ceil(performance.now()),
    passed: 0,
    run: work => current.run(clock, work),
  }
  return clock
}
