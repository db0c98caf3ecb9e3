/** `/metrics` of a worker, in Prometheus' text format. `prom-client` is imported only if it is served. */
import type { Sources, UploadWorker } from '../bullmq/index.js'
import { errorCode } from '../util/error-code.js'
import type { Route } from './health.js'

const MISSING =
  'The metrics need the package prom-client. Run "npm install prom-client" in the folder of the sources'

/**
 * Creates the route, with the metrics of the worker and of the process. Without `prom-client`, its reply is 501.
 * @param warn – called if `prom-client` is not installed
 */
export async function metricsRoute(
  worker: UploadWorker<Sources>,
  warn: (message: string) => void,
): Promise<Route> {
  const modules = await loadModules()
  if (modules === undefined) {
    warn(`no /metrics: ${MISSING}`)
    return async () => ({ status: 501, contentType: 'text/plain', body: `${MISSING}\n` })
  }
  const { collectDefaultMetrics, collectWorkerMetrics, Registry } = modules
  const register = new Registry()
  collectDefaultMetrics({ register })
  collectWorkerMetrics(worker, { register })
  return async () => ({
    status: 200,
    contentType: register.contentType,
    body: await register.metrics(),
  })
}

async function loadModules() {
  try {
    const { collectDefaultMetrics, Registry } = await import('prom-client')
    const { collectWorkerMetrics } = await import('../prometheus/index.js')
    return { collectDefaultMetrics, collectWorkerMetrics, Registry }
  } catch (error) {
    if (errorCode(error) !== 'ERR_MODULE_NOT_FOUND') throw error
    return undefined
  }
}
