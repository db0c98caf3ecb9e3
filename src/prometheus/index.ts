/**
 * Metrics of an `UploadWorker` for Prometheus, by the library `prom-client`.
 * @module oss-spool/prometheus
 */
export { collectWorkerMetrics, type WorkerMetricsOptions } from './worker-metrics.js'
