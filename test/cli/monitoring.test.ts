/** `--ping`, `--metrics` and `--log-format`, with real servers. */
import { once } from 'node:events'
import { chmod, mkdir, readFile, readdir, stat, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { text } from 'node:stream/consumers'
import t, { type Test } from 'tap'
import { server, start, until, type Ended } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { sampled } from '../support/long.js'
import { BUCKET } from '../support/oss.js'
import { schema } from '../support/schema.js'

const WHERE = `oss://${BUCKET}/k`

interface Received {
  readonly url: string
  readonly body: string
}

/** Starts a monitoring service with a secret path. */
async function monitor(
  t: Test,
  reply: RequestListener = (_, response) => response.end('OK'),
): Promise<{ url: string; origin: string; pings: Received[] }> {
  const pings: Received[] = []
  const listener = async (request: IncomingMessage, ...rest: [Parameters<RequestListener>[1]]) => {
    pings.push({ url: `${request.method} ${request.url}`, body: await text(request) })
    reply(request, ...rest)
  }
  const service = createServer((request, response) => void listener(request, response))
  service.listen(0, '127.0.0.1')
  await once(service, 'listening')
  t.teardown(() => {
    service.closeAllConnections()
    service.close()
  })
  const origin = `http://127.0.0.1:${(service.address() as AddressInfo).port}` // listens on a port
  return { url: `${origin}/s3cret-token`, origin, pings }
}

const paths = (pings: readonly Received[]): string[] => pings.map(({ url }) => url)
const lastBody = (pings: readonly Received[]) => {
  const { body = '' } = pings.at(-1) ?? {}
  const parsed = JSON.parse(body)
  schema('ping')(parsed)
  return parsed
}

t.test('put pings its start and its success, with the result', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  const { url, pings } = await monitor(t)
  const args = ['put', WHERE, '--ping', `${url}?rid=7`, '--debug']
  const { status, err } = await run(dir, args, Buffer.from('x'), env)
  t.equal(status, 0)
  t.same(paths(pings), ['POST /s3cret-token/start?rid=7', 'POST /s3cret-token?rid=7'])
  t.same(JSON.parse(pings[0]?.body ?? ''), { command: 'put' })
  t.match(lastBody(pings), {
    command: 'put',
    status: 0,
    results: [{ key: 'k', size: 1 }],
    errors: [],
  })
  t.notMatch(err, 's3cret', '--debug does not show the URL')
})

t.test('a failure is pinged with its status and its error', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const { url, pings } = await monitor(t)
  const ping = { ...env, OSS_SPOOL_PING: url }
  const failed = await run(dir, ['run', WHERE, '--', 'sh', '-c', 'exit 7'], undefined, ping)
  t.equal(failed.status, 7)
  t.equal(paths(pings).at(-1), 'POST /s3cret-token/fail')
  t.match(lastBody(pings), {
    status: 7,
    results: [],
    errors: [{ code: 'ERR_SPOOL_SOURCE_FAILED' }],
  })
  oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  await run(dir, ['put', WHERE, '--id=d'], Buffer.from('x'), ping)
  t.match(lastBody(pings), { status: 75, errors: [{ code: 'ERR_SPOOL_DENIED', id: 'd' }] })
  await run(dir, ['resume', 'd'], undefined, ping)
  t.match(lastBody(pings), { command: 'resume', status: 75 })
  for (const { body } of pings) t.notMatch(body, env['OSS_ACCESS_KEY_SECRET'] ?? '-')
})

t.test('wrong usage is pinged as a failure, even if the command line cannot be parsed', async t => {
  const dir = t.testdir({ 'c.json': '{"nope":1}' })
  const { url, pings } = await monitor(t)
  const failures: [string[], string[]][] = [
    [['put', WHERE, '--nope', '--ping', url], ['fail']],
    [['put', WHERE, '--config=c.json', `--ping=${url}`], ['fail']],
    [
      ['resume', '--ping', url],
      ['start', 'fail'],
    ],
    [['ls', '--nope'], []],
    [['put', '--help'], []],
  ]
  for (const [args, expected] of failures) {
    pings.length = 0
    await run(dir, args, undefined, { OSS_SPOOL_PING: url })
    t.same(
      paths(pings),
      expected.map(name => `POST /s3cret-token/${name}`),
      args.join(' '),
    )
    if (expected.length > 0)
      t.match(lastBody(pings), { status: 2, errors: [{ code: 'ERR_USAGE' }] })
  }
})

t.test('an invalid ping URL is wrong usage and is never quoted', async t => {
  const dir = t.testdir({ 'c.json': '{"ping":"ftp://host/s3cret"}' })
  const { oss, env } = await server(t, dir)
  const wrong: [string[], Record<string, string>][] = [
    [['--ping', 'ftp://host/s3cret'], {}],
    [['--ping', 's3cret'], {}],
    [['--ping=http://h/s3cret', '--ping=http://h/s3cret'], {}],
    [['--config=c.json'], {}],
    [[], { OSS_SPOOL_PING: 'http:/s3cret' }],
  ]
  for (const [flags, more] of wrong) {
    const ended = await run(dir, ['put', WHERE, ...flags], Buffer.from('x'), { ...env, ...more })
    t.equal(ended.status, 2, ended.err)
    t.notMatch(ended.err + ended.out, 's3cret')
  }
  t.equal(oss.requests.length, 0)
  const shown = await run(dir, ['config', 'show'], undefined, {
    OSS_SPOOL_PING: 'https://user:s3cret@hc.example/s3cret',
  })
  t.match(shown.out, 'https://hc.example/********')
  t.notMatch(shown.out, 's3cret')
})

t.test('a service that fails is a warning and changes nothing else', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  const dead = await monitor(t)
  const refused = await monitor(t, (_, response) => response.writeHead(404).end())
  const broken = await monitor(t, (_, response) => response.writeHead(500).end())
  const other = await monitor(t)
  const redirect = await monitor(t, (_, response) =>
    response.writeHead(301, { location: other.url }).end(),
  )
  for (const [name, url, attempts] of [
    ['dead', 'http://127.0.0.1:1/s3cret-token', 0],
    ['refused', refused.url, 2],
    ['broken', broken.url, 6],
    ['redirect', redirect.url, 2],
  ] as const) {
    const args = ['put', WHERE, '--ping', url, '--json', '--log-format=json']
    const { status, out, err } = await run(dir, args, Buffer.from('x'), env)
    t.equal(status, 0, name)
    t.match(JSON.parse(out), { key: 'k' })
    t.same(
      logOf({ err }).map(({ level }) => level),
      ['warn', 'warn'],
      err,
    )
    t.notMatch(err, 's3cret')
    const { pings } = { refused, broken, redirect, dead }[name]
    t.equal(pings.length, attempts, name)
  }
  t.same(other.pings, [], 'redirects are not followed')
})

t.test('a service that never answers delays the end by at most 5 s, and nothing else', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const silent = await monitor(t, () => {})
  const input = new PassThrough()
  const args = ['put', WHERE, '--ping', silent.url]
  const { child, done } = start(dir, args, input, env)
  input.end('x')
  await until(() => oss.requests.length > 0)
  const published = Date.now()
  const { status, err } = await done
  const delay = Date.now() - published
  t.equal(status, 0)
  t.ok(delay < 8_000, `${delay} ms`)
  t.equal(err.match(/ping to/g)?.length, 2, err)
  t.equal(child.exitCode, 0)
})

t.test('an interrupted upload is pinged as a failure', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  const signals = [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const
  for (const [signal, expected] of sampled(t, signals, 2)) {
    const { url, pings } = await monitor(t)
    const { child, done } = start(dir, ['put', WHERE, '--ping', url], new PassThrough(), env)
    await until(() => pings.length > 0)
    await until(async () => (await readdir(join(dir, 'spool')).catch(() => [])).length > 0)
    child.kill(signal)
    t.equal((await done).status, expected)
    t.same(paths(pings), ['POST /s3cret-token/start', 'POST /s3cret-token/fail'])
    t.match(lastBody(pings), { status: expected })
  }
})

t.test('pings go through the proxy of the environment', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  const proxy = await monitor(t)
  const args = ['put', WHERE, '--ping', 'http://user:p%40ss@monitor.invalid/s3cret-token']
  const { status } = await run(dir, args, Buffer.from('x'), { ...env, http_proxy: proxy.origin })
  t.equal(status, 0)
  t.same(paths(proxy.pings), [
    'POST http://monitor.invalid/s3cret-token/start',
    'POST http://monitor.invalid/s3cret-token',
  ])
})

t.test('the body of a ping is bounded', async t => {
  const files = Object.fromEntries(Array.from({ length: 150 }, (_, i) => [`f${i}`, 'x']))
  const dir = t.testdir(files)
  const { env } = await server(t, dir)
  const { url, pings } = await monitor(t)
  const args = ['put', `oss://${BUCKET}/d/`, 'f*', '--ping', url]
  t.equal((await run(dir, args, undefined, env)).status, 0)
  const { results, omitted } = lastBody(pings)
  t.equal(results.length + omitted, 150)
  t.ok((pings.at(-1)?.body.length ?? 0) <= 64 * 1024)
})

/** Parses the text format strictly. Returns the values by metric and labels. */
function parseMetrics(content: string): Record<string, number> {
  const samples: Record<string, number> = {}
  const types = new Map<string, number>()
  let current = ''
  if (!content.endsWith('\n')) throw new Error('the last line has no end')
  content
    .slice(0, -1)
    .split('\n')
    .forEach((line, i, lines) => {
      const help = /^# HELP ([a-z_]+) [^\\]+$/.exec(line)?.[1]
      const type = /^# TYPE ([a-z_]+) gauge$/.exec(line)?.[1]
      if (help !== undefined) {
        if (types.has(help)) throw new Error(`two groups: ${help}`)
        current = help
        if (!lines[i + 1]?.startsWith(`# TYPE ${help} `)) throw new Error(`no type: ${help}`)
      } else if (type !== undefined) {
        if (type !== current) throw new Error(`no help: ${type}`)
        types.set(type, i)
      } else {
        const match = /^(([a-z_]+)(?:\{[a-z]+="[a-z]+"\})?) (\d+(?:\.\d+)?)$/.exec(line)
        const [, name = '', metric, value] = match ?? []
        if (metric !== current || name in samples) throw new Error(`wrong line: ${line}`)
        samples[name] = Number(value)
      }
    })
  return samples
}

async function metricsOf(dir: string): Promise<Record<string, number>> {
  return parseMetrics(await readFile(join(dir, 'oss.prom'), 'utf8'))
}

const SUCCESS = 'oss_spool_last_success_timestamp_seconds'
const DURATION = 'oss_spool_last_duration_seconds'

t.test('metrics describe the spool, and keep the last run of every command', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const metrics = { ...env, OSS_SPOOL_METRICS: 'oss.prom' }
  const before = Date.now() / 1000
  await run(dir, ['put', WHERE], Buffer.from('x'), metrics)
  const first = await metricsOf(dir)
  t.ok((first[`${SUCCESS}{command="put"}`] ?? 0) >= Math.floor(before))
  t.match(first, {
    'oss_spool_unfinished_uploads{phase="spooling"}': 0,
    'oss_spool_unfinished_uploads{phase="sealed"}': 0,
    'oss_spool_unfinished_uploads{phase="completing"}': 0,
    oss_spool_oldest_sealed_age_seconds: 0,
    oss_spool_quarantined_uploads: 0,
  })
  t.equal((await stat(join(dir, 'oss.prom'))).mode & 0o777, 0o644)

  oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  await run(dir, ['put', WHERE, '--id=d'], Buffer.from('12345'), metrics)
  await mkdir(join(dir, 'spool', 'damaged'))
  await writeFile(join(dir, 'spool', 'damaged', 'checkpoint.json'), '{')
  await new Promise(resolve => setTimeout(resolve, 1_100))
  await run(dir, ['ls'], undefined, metrics)
  const second = await metricsOf(dir)
  t.equal(second[`${SUCCESS}{command="put"}`], first[`${SUCCESS}{command="put"}`])
  t.ok(second[`${SUCCESS}{command="ls"}`])
  t.ok(second[`${DURATION}{command="put"}`])
  t.match(second, {
    'oss_spool_unfinished_uploads{phase="sealed"}': 1,
    'oss_spool_unfinished_bytes{phase="sealed"}': 5,
    oss_spool_quarantined_uploads: 1,
  })
  t.ok((second['oss_spool_oldest_sealed_age_seconds'] ?? 0) >= 1)
  t.same(
    (await readdir(dir)).filter(name => name.includes('prom')).toSorted(),
    ['.oss.prom.lock', 'oss.prom'],
    'no temporary file is left',
  )
})

t.test('commands that end together do not lose the metrics of one another', async t => {
  const dir = t.testdir({ f: 'x' })
  const { env } = await server(t, dir)
  const flags = ['--metrics', 'oss.prom']
  const commands = [
    ['put', `oss://${BUCKET}/a`, 'f', ...flags],
    ['run', `oss://${BUCKET}/b`, ...flags, '--', 'echo'],
    ['resume', '--all', ...flags],
    ['ls', ...flags],
  ]
  await Promise.all(commands.map(args => start(dir, args, undefined, env).done))
  const samples = await metricsOf(dir)
  for (const name of ['put', 'run', 'resume', 'ls']) {
    t.ok(samples[`${DURATION}{command="${name}"}`], name)
  }
})

t.test(
  'a foreign or broken metrics file is replaced; one that cannot be written is a warning',
  async t => {
    const dir = t.testdir({
      'oss.prom': `\0{{{\n${SUCCESS}{command="put"} x\n${SUCCESS}{command="run"} 5\n`,
    })
    await run(dir, ['ls', '--metrics=oss.prom'])
    const samples = await metricsOf(dir)
    t.equal(samples[`${SUCCESS}{command="run"}`], 5)
    t.notOk(`${SUCCESS}{command="put"}` in samples)
    for (const file of ['nowhere/oss.prom', 'spool.prom']) {
      if (file === 'spool.prom') await mkdir(join(dir, file))
      const { status, err } = await run(dir, ['ls', '--metrics', file, '--log-format=json'])
      t.equal(status, 0, err)
      t.match(logOf({ err }), [{ level: 'warn' }])
    }
    const { status } = await run(dir, ['ls', '--metrics', 'metrics.txt'])
    t.equal(status, 2, 'node_exporter reads *.prom only')
    await chmod(join(dir, 'oss.prom'), 0o644)
  },
)

/** Parses standard error, all of whose lines must be objects that the schema describes. */
function logOf({ err }: Pick<Ended, 'err'>) {
  return err
    .split('\n')
    .slice(0, -1)
    .map(line => {
      const entry = JSON.parse(line)
      schema('log')(entry)
      return entry
    })
}

t.test('--log-format json makes every line of standard error an object', async t => {
  const dir = t.testdir({ file: 'x' })
  const { oss, env } = await server(t, dir)
  oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  const json = '--log-format=json'
  const put = ['put', WHERE, '--id=d', json, '--progress=json', '--debug']
  const failed = logOf(await run(dir, put, Buffer.from('x'), env))
  t.match(
    failed.find(({ level }) => level === 'error'),
    { code: 'ERR_SPOOL_DENIED', id: 'd', hint: /resume d/, stack: /\n/ },
  )
  for (const level of ['debug', 'info', 'warn'])
    t.ok(
      failed.some(each => each.level === level),
      level,
    )
  t.ok(failed.some(({ progress }) => progress?.name === 'k'))
  for (const args of [
    ['put', json, '--nope'],
    ['put', '--log-format', 'json'],
    ['completion', json, 'nosh'],
    ['emulator', json, '--port=x'],
    ['show', json, 'nope'],
    ['nope', json],
    [json],
    ['config', json],
  ]) {
    const ended = await run(dir, args)
    t.match(logOf(ended), [{ level: 'error', code: /^ERR_/, message: /./ }], args.join(' '))
    t.not(ended.status, 0)
  }
  const noCommand = await run(dir, ['config'], undefined, { OSS_SPOOL_LOG_FORMAT: 'json' })
  t.match(logOf(noCommand), [{ code: 'ERR_USAGE' }])
  const wrong = await run(dir, ['ls'], undefined, { OSS_SPOOL_LOG_FORMAT: 'xml' })
  t.equal(wrong.status, 2)
})

t.test('--log-format json passes through what the command of run writes', async t => {
  const dir = t.testdir({})
  const { env } = await server(t, dir)
  const line = 'printf "plain\\n" >&2; exit 1'
  const args = ['run', WHERE, '--log-format', 'json', '--', 'sh', '-c', line, '--log-format=text']
  const { err, status } = await start(dir, args, undefined, env).done
  t.equal(status, 1)
  t.match(err, /^plain$/m)
  t.match(logOf({ err: err.replace('plain\n', '') }), [{ level: 'error' }])
})

t.test('--log-format json escapes control characters as JSON', async t => {
  const dir = t.testdir({})
  const { err } = await run(dir, ['put', 'oss://\u001B[31m\u009B\u007F', '--log-format=json'])
  t.notMatch(err.slice(0, -1), /\p{Cc}/u)
  t.match(logOf({ err }), [{ message: /\u009B/ }])
})
