/**
 * The metrics of one worker. Gauges are read when Prometheus scrapes them, counters are counted as events happen.
 * Invariant: labels have few values; no metric has a label with a key, an id or a host.
 */
import { register as defaultRegistry, type Registry } from 'prom-client'
import { UploadWorker, type Sources } from '../bullmq/index.js'
import { checkObject, checkProperties, invalidType } from '../errors.js'
import { collectFleetMetrics } from './fleet-metrics.js'
import { countJobs } from './job-metrics.js'
import { collectSpoolMetrics } from './spool-metrics.js'
import { countTransfers } from './transfer-metrics.js'

/** Options of `collectWorkerMetrics`. */
export interface WorkerMetricsOptions {
  /** Registry of `prom-client`; one worker per registry. @default the global registry */
  readonly register?: Registry
}

/**
 * Adds the metrics of `worker` to a registry of `prom-client`, whose `metrics()` then includes them. Counts from now
 * on, until the worker is closed.
 * @throws TypeError for invalid arguments
 */
export function collectWorkerMetrics<S extends Sources>(
  worker: UploadWorker<S>,
  options: WorkerMetricsOptions = {},
): void {
  if (!(worker instanceof UploadWorker)) throw invalidType('worker', 'an UploadWorker', worker)
  checkObject('options', options)
  checkProperties('options', options, { register: true })
  const { register = defaultRegistry } = options
  if (typeof register?.registerMetric !== 'function') {
    throw invalidType('options.register', 'a Registry of prom-client', register)
  }
  const { internals } = worker
  countJobs(internals, register, () => worker.active)
  countTransfers(internals, register)
  collectFleetMetrics(internals, register)
  collectSpoolMetrics(internals, register)
}
