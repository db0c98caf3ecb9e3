/** The files of `examples/monitoring/`, checked by promtool and against the output of a real worker process. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { server, start, until } from '../support/command-line.js'
import { BUCKET } from '../support/oss.js'
import { pathOf } from '../support/project.js'
import { promtool } from '../support/promtool.js'
import { startRedis } from '../support/redis.js'

const FOLDER = pathOf('examples/monitoring')
const ALERTS = join(FOLDER, 'alerts.yml')
const DASHBOARD = readFileSync(join(FOLDER, 'grafana-dashboard.json'), 'utf8')

interface Dashboard {
  readonly schemaVersion: number
  readonly panels: readonly {
    readonly id: number
    readonly title: string
    readonly targets: readonly { readonly expr: string }[]
  }[]
}

const dashboard: Dashboard = JSON.parse(DASHBOARD)

/** Returns the expressions of a panel, with values for Grafana's variables. */
function expressionsOf({ targets }: Dashboard['panels'][number]): string[] {
  return targets.map(({ expr }) =>
    expr
      .replaceAll('$__rate_interval', '1m')
      .replaceAll('$__range', '1h')
      .replaceAll('$queue', '.*'),
  )
}

const expressions = dashboard.panels.flatMap(expressionsOf)

function metricsIn(text: string): string[] {
  return [...new Set(text.match(/\b(oss_spool|process|nodejs)_\w+/g))].toSorted()
}

/** Starts a worker and resolves with the text of its `/metrics`. */
async function scrape(t: Test): Promise<string | undefined> {
  const redis = await startRedis(t)
  if (redis === undefined) return undefined
  const dir = t.testdir({ 'sources.mjs': 'export const source = () => []' })
  const { env } = await server(t, dir)
  const args = ['worker', `--bucket=${BUCKET}`, '--sources=sources.mjs', '--health=0']
  const { child } = start(dir, args, undefined, {
    ...env,
    REDIS_URL: `redis://127.0.0.1:${redis.port}`,
  })
  t.teardown(() => void child.kill('SIGKILL'))
  let said = ''
  child.stderr?.on('data', (text: Buffer) => (said += String(text)))
  await until(() => /health on \S+/.test(said))
  const url = new URL('/metrics', /health on (\S+)/.exec(said)?.[1])
  const read = async (): Promise<string> => {
    const response = await fetch(url)
    t.match(response.headers.get('content-type'), 'text/plain; version=0.0.4')
    return response.text()
  }
  await until(async () => (await read()).includes('oss_spool_redis_up{queue="oss-spool"} 1'))
  return read()
}

t.test('the alerts and the configuration of Prometheus are valid', async t => {
  const checks = [
    ['check', 'rules', ALERTS],
    ['check', 'config', join(FOLDER, 'prometheus.yml')],
    ['test', 'rules', pathOf('test/prometheus/alerts.test.yml')],
  ]
  for (const args of checks) {
    const checked = promtool(t, args)
    if (checked !== undefined) t.equal(checked.status, 0, checked.output)
  }
})

t.test('every expression of the dashboard is valid', async t => {
  const rules = expressions.map(expr => ({ record: 'dashboard:panel', expr }))
  const dir = t.testdir({})
  const file = join(dir, 'rules.json') // JSON is YAML
  const groups = rules.map((rule, i) => ({ name: `panel-${i}`, rules: [rule] }))
  writeFileSync(file, JSON.stringify({ groups }))
  const checked = promtool(t, ['check', 'rules', '--lint=none', file])
  if (checked !== undefined) t.equal(checked.status, 0, checked.output)
})

t.test('panels add the jobs of several queues, and show a Redis that does not answer', async t => {
  /** Returns an expectation for the first expression of a panel. */
  const panelHas = (title: string, ...samples: readonly (readonly [string, number])[]) => ({
    expr: dashboard.panels.filter(panel => panel.title === title).flatMap(expressionsOf)[0],
    eval_time: '1m',
    exp_samples: samples.map(([labels, value]) => ({ labels, value })),
  })
  const series = {
    'oss_spool_jobs{queue="p", state="waiting", instance="a"}': 2,
    'oss_spool_jobs{queue="p", state="waiting", instance="b"}': 2,
    'oss_spool_jobs{queue="q", state="waiting", instance="c"}': 3,
    'oss_spool_jobs{queue="q", state="completed", instance="c"}': 9,
    'oss_spool_redis_up{queue="p", instance="a"}': 1,
    'oss_spool_redis_round_trip_seconds{queue="p", instance="a"}': 0.001,
    'oss_spool_redis_up{queue="p", instance="b"}': 0,
  }
  const busy = {
    input_series: Object.entries(series).map(([name, value]) => ({
      series: name,
      values: `${value}x2`,
    })),
    promql_expr_test: [
      panelHas('Workers', ['{}', 2]),
      panelHas('Jobs waiting', ['{}', 5]),
      panelHas('Jobs by state', ['{state="waiting"}', 5]),
      panelHas('Redis round trip', ['{instance="a"}', 0.001], ['{instance="b"}', 2]),
    ],
  }
  const gone = { input_series: [], promql_expr_test: [panelHas('Workers', ['{}', 0])] }
  const dir = t.testdir({ 'test.json': JSON.stringify({ tests: [busy, gone] }) })
  const checked = promtool(t, ['test', 'rules', join(dir, 'test.json')])
  if (checked !== undefined) t.equal(checked.status, 0, checked.output)
})

t.test('panels of the dashboard have an id and a title of their own', async t => {
  const { panels, schemaVersion } = dashboard
  t.equal(schemaVersion, 36, 'Grafana 9 and later read it')
  t.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
  t.ok(panels.every(({ title, targets }) => title !== '' && targets.length > 0))
})

t.test('a worker has every metric of the dashboard, the alerts and the docs', async t => {
  const output = await scrape(t)
  if (output === undefined) return
  const names = output.match(/^# TYPE \w+/gm)?.map(line => line.slice('# TYPE '.length)) ?? []
  const histograms = output.match(/^# TYPE \w+ histogram/gm)?.map(line => line.split(' ')[2] ?? '')
  const all = [...names, ...(histograms ?? []).map(name => `${name}_bucket`)]
  const alerts = readFileSync(ALERTS, 'utf8')
  for (const text of [expressions.join('\n'), alerts]) {
    t.ok(metricsIn(text).length > 0)
    t.same(
      metricsIn(text).filter(name => !all.includes(name)),
      [],
    )
  }
  const [, page = ''] = readFileSync(pathOf('docs/monitoring.md'), 'utf8').split('\n## Fleets')
  const documented = [...page.matchAll(/^\| `(oss_spool_\w+)/gm)].map(([, name = '']) => name)
  t.same(
    documented.toSorted(),
    names.filter(name => name.startsWith('oss_spool_')).toSorted(),
    'the table of docs/monitoring.md lists exactly these metrics',
  )
  const checked = promtool(t, ['check', 'metrics'], output)
  if (checked === undefined) return
  t.not(checked.status, 1, 'the output can be parsed')
  // `prom-client` has names for the process that promtool advises against.
  const advice = checked.output.split('\n').filter(line => line !== '')
  t.same(
    advice.filter(line => !line.startsWith('nodejs_')),
    [],
  )
})
