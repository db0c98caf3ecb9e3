/** Health of a worker: which status applies, and which one a probe sees as a failure. */
import { performance } from 'node:perf_hooks'
import t from 'tap'
import { healthRoute } from '../../src/cli/health.js'
import { EventLoopDelay, healthStatus, isHealthy } from '../../src/cli/worker-health.js'

const well = { redis: true, idleSources: [], eventLoopDelay: 20 }
const idleSources = [{ id: 'job', idle: 400_000 }]

t.test('the most serious status applies', async t => {
  t.equal(healthStatus(well, false), 'ok')
  t.equal(healthStatus({ ...well, idleSources }, false), 'degraded')
  t.equal(healthStatus({ ...well, eventLoopDelay: 6_000 }, false), 'degraded')
  t.equal(healthStatus({ ...well, idleSources, redis: false }, false), 'unreachable')
  t.equal(healthStatus({ ...well, idleSources, redis: false }, true), 'stopping')
})

t.test('a probe succeeds while the worker works', async t => {
  const statuses = ['ok', 'degraded', 'stopping', 'unreachable'] as const
  t.same(statuses.map(isHealthy), [true, true, false, false])
  const health = { status: 'degraded', host: 'a', active: 1, ...well, idleSources } as const
  const reply = await healthRoute(async () => health)()
  t.match(reply, { status: 200, contentType: 'application/json' })
  t.same(JSON.parse(reply.body), health)
  const failing = await healthRoute(async () => Promise.reject(new Error('x')))()
  t.match(failing, { status: 503, body: /unreachable/ })
})

t.test('the delay of a blocked event loop is measured', async t => {
  const delay = new EventLoopDelay()
  t.teardown(() => delay.stop())
  const turns = () => new Promise(resolve => setTimeout(resolve, 200))
  await turns()
  const until = performance.now() + 700
  while (performance.now() < until);
  await turns()
  t.ok(delay.max >= 500)
})
