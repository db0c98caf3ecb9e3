/** `--dry-run` of `put` and `run`. */
import { readdirSync } from 'node:fs'
import t from 'tap'
import { server } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET } from '../support/oss.js'

const K = `oss://${BUCKET}/k`
const DUMP = ['--', 'echo', 'dump']
const parsed = ({ out }: { out: string }) => JSON.parse(out)

t.test(
  '--dry-run describes files, standard input and commands, and sends and writes nothing',
  async t => {
    const dir = t.testdir({ a: 'abc', b: '' })
    const before = readdirSync(dir)
    const { oss, env } = await server(t, dir)
    const calls: readonly (readonly [readonly string[], object])[] = [
      [['put', K, 'a'], { action: 'upload', key: 'k', from: 'a', size: 3 }],
      [['put', K, 'a', '--id=mine', '--if-changed'], { id: 'mine', ifChanged: true }],
      [['put', K], { action: 'upload', from: 'standard input' }],
      [['run', K, '--size=9', ...DUMP], { action: 'upload', size: 9 }],
      [['run', K, '--shell', 'exit 3'], { action: 'upload' }],
      [['run', K, '--local=objects', ...DUMP], { action: 'upload' }],
    ]
    const ping = { OSS_SPOOL_PING: oss.endpoint, OSS_SPOOL_METRICS: 'metrics' }
    for (const [[name = '', ...args], expected] of calls) {
      const done = await run(dir, [name, '--dry-run', '--json', ...args], undefined, {
        ...env,
        ...ping,
      })
      t.match(done, { status: 0, err: '' }, args.join(' '))
      t.match(parsed(done), { dryRun: true, bucket: BUCKET, ...expected })
    }
    const files = await run(
      dir,
      ['put', `oss://${BUCKET}/d/`, 'a', 'b', '--dry-run'],
      undefined,
      env,
    )
    t.match(files, { status: 0, out: /^oss:.*\/d\/a: a .*3 B\noss:.*\/d\/b: b .*0 B\n$/ })
    t.match(await run(dir, ['put', K, 'none', '--dry-run'], undefined, { ...env, ...ping }), {
      status: 2,
    })
    t.match(await run(dir, ['put', K, '--nope', '--dry-run'], undefined, { ...env, ...ping }), {
      status: 2,
    })
    t.equal(oss.requests.length, 0)
    t.same(readdirSync(dir).toSorted(), [...before, 'server'].toSorted())
  },
)

t.test(
  '--dry-run has the id of the upload, and tells when sealed bytes or a receipt replace the source',
  async t => {
    const dir = t.testdir({ a: 'abc' })
    const { oss, env } = await server(t, dir)
    const fault = oss.inject({
      operation: 'PutObject',
      do: 'answer',
      status: 403,
      code: 'AccessDenied',
      times: 'always',
    })
    const planned = parsed(
      await run(dir, ['run', K, '--dry-run', '--json', ...DUMP], undefined, env),
    )
    const failed = parsed(await run(dir, ['run', K, '--json', ...DUMP], undefined, env))
    t.equal(failed.error.id, planned.id)
    fault.remove()
    const finish = await run(dir, ['run', K, '--dry-run', '--json', ...DUMP], undefined, env)
    t.match(parsed(finish), { action: 'finish', id: planned.id, size: 5 })
    const tooOld = ['run', K, '--dry-run', '--json', '--max-age=0s', ...DUMP]
    t.match(parsed(await run(dir, tooOld, undefined, env)), { action: 'upload' })
    const file = await run(dir, ['put', K, 'a', '--dry-run', '--json'], undefined, env)
    t.match(parsed(file), { action: 'upload' }, 'put uploads the file as it is now')
    const other = ['run', `${K}2`, `--id=${planned.id}`, '--dry-run', '--json', ...DUMP]
    t.match(await run(dir, other, undefined, env), { status: 1, out: /ERR_SPOOL_ID_IN_USE/ })
    t.match(await run(dir, ['run', K, ...DUMP], undefined, env), { status: 0 })
    t.match(await run(dir, ['run', K, '--once', ...DUMP], undefined, env), { status: 0 })
    for (const args of [
      ['run', ...DUMP],
      ['put', 'a'],
    ] as const) {
      const [name, ...rest] = args
      const receipt = await run(dir, [name, K, '--dry-run', '--json', ...rest], undefined, env)
      t.match(parsed(receipt), { action: 'none', id: planned.id, size: 5 })
    }
    const input = await run(dir, ['put', K, '--dry-run', '--json'], undefined, env)
    t.match(parsed(input), { action: 'upload' }, 'standard input is always read')
  },
)
