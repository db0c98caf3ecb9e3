/** Gauges of the queue and of Redis. They are the same on every worker of a fleet, and are read at most every 5 s. */
import { Gauge, type Registry } from 'prom-client'
import type { WorkerInternals } from '../bullmq/worker-internals.js'
import { sendCommand } from '../redis/connection.js'
import { CachedReading } from './cached-reading.js'
import { oldestWaitingAge } from './waiting-age.js'

const MAX_AGE_MS = 5_000
/** Below the usual timeout of a scrape, 10 s. */
const TIMEOUT_MS = 2_000

/** States of BullMQ. Jobs that wait for the host with their bytes are `waiting-children`. */
const STATES = [
  'waiting',
  'prioritized',
  'delayed',
  'active',
  'waiting-children',
  'completed',
  'failed',
] as const

interface FleetReading {
  /** In ms. */
  readonly roundTrip: number
  readonly jobCounts: Readonly<Record<string, number>>
  /** In ms. */
  readonly oldestWaiting: number
}

export function collectFleetMetrics(worker: WorkerInternals, register: Registry): void {
  const reading = new CachedReading(() => readFleet(worker), {
    maxAge: MAX_AGE_MS,
    timeout: TIMEOUT_MS,
  })
  const queue = { queue: worker.sharedQueue.name }
  /** @param valueOf – returns the value in the unit of the metric */
  const gauge = (name: string, help: string, valueOf: (fleet: FleetReading) => number): void => {
    const measured: Gauge = new Gauge({
      name,
      help,
      labelNames: ['queue'],
      registers: [register],
      collect: async () => {
        const fleet = await reading.get()
        if (fleet === undefined) measured.reset()
        else measured.set(queue, valueOf(fleet))
      },
    })
  }
  const jobs: Gauge = new Gauge({
    name: 'oss_spool_jobs',
    help: 'Jobs of the queue by state. Those that are finished count as long as they are kept.',
    labelNames: ['queue', 'state'],
    registers: [register],
    collect: async () => {
      const fleet = await reading.get()
      if (fleet === undefined) jobs.reset()
      else for (const state of STATES) jobs.set({ ...queue, state }, fleet.jobCounts[state] ?? 0)
    },
  })
  gauge(
    'oss_spool_oldest_waiting_job_age_seconds',
    'Time for which the oldest waiting job could have run; 0 if none waits.',
    ({ oldestWaiting }) => oldestWaiting / 1000,
  )
  gauge(
    'oss_spool_redis_round_trip_seconds',
    'Duration of a ping to Redis.',
    ({ roundTrip }) => roundTrip / 1000,
  )
  const isUp: Gauge = new Gauge({
    name: 'oss_spool_redis_up',
    help: 'Whether Redis answers; without an answer, the metrics that are read from it are missing.',
    labelNames: ['queue'],
    registers: [register],
    collect: async () => isUp.set(queue, (await reading.get()) === undefined ? 0 : 1),
  })
}

async function readFleet({ connection, sharedQueue }: WorkerInternals): Promise<FleetReading> {
  const startedAt = performance.now()
  await sendCommand(connection, TIMEOUT_MS, 'PING')
  const roundTrip = performance.now() - startedAt
  const keyOf = (name: string): string => sharedQueue.toKey(name)
  const [jobCounts, oldestWaiting] = await Promise.all([
    sharedQueue.getJobCounts(...STATES),
    oldestWaitingAge({ connection, keyOf, timeout: TIMEOUT_MS }, Date.now()),
  ])
  return { roundTrip, jobCounts, oldestWaiting }
}
