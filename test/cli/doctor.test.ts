/** `doctor`, `config show`, and JSON output that matches the published schemas. */
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { SETTING_DEFINITIONS } from '../../src/cli/config-schema.js'
import { startEmulator } from '../../src/emulator/index.js'
import { makeAuthority } from '../support/authority.js'
import { environment, server, shell, type Env } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET } from '../support/oss.js'
import { OUTPUTS, read, schema } from '../support/schema.js'
import { long, sampled } from '../support/long.js'
import { pathOf } from '../support/project.js'

const WHERE = `oss://${BUCKET}/in/`

interface Report {
  readonly ok: boolean
  readonly checks: readonly { check: string; state: string; message: string; hint?: string }[]
}

async function doctor(
  dir: string,
  env: Env,
  where = WHERE,
): Promise<Report & { status: number | null }> {
  const { out, status } = await run(dir, ['doctor', where, '--json'], undefined, env)
  const report: Report = JSON.parse(out)
  return { ...report, status }
}

function stateOf({ checks }: Report, name: string): string | undefined {
  return checks.find(({ check }) => check === name)?.state
}

t.test('doctor passes in a working environment, and its probe leaves nothing behind', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const report = await doctor(dir, env)
  t.equal(report.status, 0)
  t.ok(report.ok)
  const bad = report.checks.filter(({ state }) => state !== 'ok')
  // The test directory may be in memory.
  t.same(
    bad.filter(({ check }) => check !== 'fsync'),
    [],
  )
  const operations = oss.requests.map(({ operation }) => operation)
  t.same(operations, ['InitiateMultipartUpload', 'ListParts', 'HeadObject', 'AbortMultipartUpload'])
  t.ok(oss.requests.every(({ key }) => key?.startsWith('in/.oss-spool-probe-')))
  const human = await run(dir, ['doctor', WHERE], undefined, env)
  t.match(human.out, /^ok {7}spool directory {2}.*\n(.*\n)*ok {7}may abort/)
})

t.test('doctor --live-check compares a bucket with the emulator', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const args = ['doctor', '--live-check', '--json']
  for (const wrong of [args, [...args, WHERE], [...args, WHERE, '--yes', '--local']]) {
    t.equal((await run(dir, wrong, undefined, env)).status, 2)
  }
  t.equal(oss.requests.length, 0)

  const passes = async (): Promise<void> => {
    const same = await run(dir, [...args, WHERE, '--yes'], undefined, env)
    t.equal(same.status, 0, same.out)
    t.match(same.err, `below ${WHERE}oss-spool-live-check-`)
    const report = JSON.parse(same.out)
    t.match(report, { ok: true, liveCheck: { differences: [] } })
    const { transcript } = report.liveCheck
    t.equal((await stat(transcript)).mode & 0o777, 0o600)
    const lines = (await readFile(transcript, 'utf8')).trim().split('\n')
    t.ok(lines.length > report.liveCheck.requests, 'has both sides')
    t.notMatch(lines.join(), env['OSS_ACCESS_KEY_ID'])
  }
  const fails = async (): Promise<void> => {
    const code = 'InternalError'
    oss.inject({ operation: 'DeleteObject', do: 'answer', status: 500, code, times: 1 })
    const text = ['doctor', '--live-check', WHERE, '--yes']
    const { out, status } = await run(dir, text, undefined, env)
    t.equal(status, 1)
    t.match(out, /\nFAILED {3}live check .*\n(.*\n)*status +500 +204 +DELETE: DELETE\n/)
  }
  for (const outcome of sampled(t, [passes, fails], 2)) await outcome()
})

const authority = makeAuthority(t)
const skip = authority === undefined && 'needs openssl'

// Without an authority, the test is skipped.
t.test('doctor warns of a server whose certificate is not verified', { skip }, async t => {
  const dir = t.testdir({})
  const oss = await startEmulator({ buckets: [BUCKET], tls: authority!.sign('IP:127.0.0.1') })
  t.teardown(() => oss.close())
  const verified = { ...environment(oss), NODE_EXTRA_CA_CERTS: authority!.path }
  t.equal(stateOf(await doctor(dir, verified), 'certificate'), undefined)
  const env = { ...environment(oss), NODE_TLS_REJECT_UNAUTHORIZED: '0' }
  const report = await doctor(dir, env)
  t.equal(report.status, 0)
  t.equal(stateOf(report, 'certificate'), 'warning')
})

t.test('doctor proposes a permission only for a refusal', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const hintFor = async (operation: 'ListParts' | 'InitiateMultipartUpload', status: number) => {
    const fault = oss.inject({ do: 'answer', operation, status, code: 'Unknown', times: 'always' })
    const { checks } = await doctor(dir, env)
    fault.remove()
    const failed = checks.find(({ state }) => state === 'failed')
    return failed?.hint ?? ''
  }
  for (const operation of ['ListParts', 'InitiateMultipartUpload'] as const) {
    t.match(await hintFor(operation, 403), /^Grant oss:/, `${operation} is refused`)
    for (const status of [404, 501])
      t.match(await hintFor(operation, status), /^Correct the endpoint/, `${operation}: ${status}`)
  }
})

t.test('put sends the bucket in the path with --path-style', async t => {
  const dir = t.testdir({ file: 'bytes' })
  const { oss, env } = await server(t, dir)
  const put = ['put', `oss://${BUCKET}/by-path`, 'file', '--retries=1']
  const place = { ...env, OSS_ENDPOINT: `http://localhost:${oss.port}` }
  t.equal((await run(dir, [...put, '--path-style'], undefined, place)).status, 0)
  t.equal((await run(dir, put, undefined, { ...place, OSS_SPOOL_PATH_STYLE: '1' })).status, 0)
  const real = ['--path-style', '--region=cn-hangzhou', '--endpoint=oss-cn-hangzhou.aliyuncs.com']
  t.equal((await run(dir, [...put, ...real], undefined, env)).status, 2)
})

void long(t, 'doctor reports each problem with a hint', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const key = { ...env, OSS_ACCESS_KEY_SECRET: 'wr0ng' }
  const denied = await doctor(dir, key)
  t.equal(denied.status, 1)
  t.equal(stateOf(denied, 'credentials'), 'failed')
  t.notMatch(JSON.stringify(denied), 'wr0ng')
  t.equal(stateOf(await doctor(dir, env, 'oss://no-such-bucket/'), 'bucket'), 'failed')
  t.equal(
    stateOf(await doctor(dir, { ...env, OSS_ENDPOINT: 'http://127.0.0.1:9' }), 'endpoint'),
    'failed',
  )
  const none = await doctor(dir, {})
  t.equal(stateOf(none, 'credentials'), 'failed')
  for (const { checks } of [denied, none]) {
    for (const { state, hint } of checks) if (state === 'failed') t.ok(hint)
  }

  const forbid = (operation: 'ListParts' | 'AbortMultipartUpload') =>
    oss.inject({ operation, do: 'answer', status: 403, code: 'AccessDenied', times: 'always' })
  const faults = [forbid('ListParts'), forbid('AbortMultipartUpload')]
  oss.inject({ do: 'skew', ms: 10 * 60_000, times: 'always', operation: 'InitiateMultipartUpload' })
  await mkdir(join(dir, 'spool', 'quarantine', 'x-2026'), { recursive: true })
  await chmod(join(dir, 'spool'), 0o777)
  const partly = await doctor(dir, env)
  t.equal(partly.status, 1)
  t.equal(stateOf(partly, 'may list parts'), 'failed')
  t.equal(stateOf(partly, 'may abort'), 'failed')
  t.equal(stateOf(partly, 'may read'), 'ok')
  t.equal(stateOf(partly, 'spool directory'), 'warning')
  t.equal(stateOf(partly, 'quarantine'), 'warning')
  for (const fault of faults) fault.remove()
})

t.test(
  'configuration is read from flags, environment, --config or the default file, ~/.ossutilconfig, in this order',
  async t => {
    const dir = t.testdir({
      '.ossutilconfig':
        '[Credentials]\nregion=cn-ossutil\nendpoint=http://ossutil\naccessKeyID=LTAIossutilossutil\naccessKeySecret=s3cret-1\n',
      '.config': {
        'oss-spool': {
          'config.json': '{"$schema":"x","partSize":"1MiB","region":"cn-default","parallel":3}',
        },
      },
      'other.json':
        '{"region":"cn-other","maxRate":500000,"accessKeyId":"LTAIotherother","accessKeySecret":"s3cret-2"}',
    })
    await chmod(join(dir, 'other.json'), 0o600)
    await chmod(join(dir, '.ossutilconfig'), 0o600)
    const show = async (args: string[], env: Env = {}) => {
      const { out, status, err } = await run(
        dir,
        ['config', 'show', '--json', ...args],
        undefined,
        env,
      )
      t.equal(status, 0, err)
      t.notMatch(out, 's3cret')
      return JSON.parse(out)
    }
    t.match(await show([]), {
      endpoint: { value: 'http://ossutil', from: join(dir, '.ossutilconfig') },
      region: { value: 'cn-default', from: join(dir, '.config/oss-spool/config.json') },
      partSize: { value: 1_048_576 },
      accessKeyId: { value: 'LTAI********', from: join(dir, '.ossutilconfig') },
      accessKeySecret: { value: '********' },
      spool: { value: join(dir, 'spool'), from: '$OSS_SPOOL_DIR' },
    })
    const env = { OSS_ENDPOINT: 'http://env', OSS_REGION: '', OSS_ACCESS_KEY_ID: 'only-half' }
    t.match(await show(['--config=other.json', '--region=cn-flag'], env), {
      endpoint: { value: 'http://env', from: '$OSS_ENDPOINT' },
      region: { value: 'cn-flag', from: '--region' },
      maxRate: { value: 500_000, from: 'other.json' },
      accessKeyId: { value: 'LTAI********', from: 'other.json' },
      parallel: { from: 'default' },
    })
    const xdg = await show([], { XDG_CONFIG_HOME: join(dir, 'nowhere') })
    t.match(xdg, { region: { value: 'cn-ossutil' }, partSize: { from: 'default' } })
  },
)

void long(t, 'put uses the settings of the configuration file', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const {
    OSS_ENDPOINT: endpoint,
    OSS_ACCESS_KEY_ID: accessKeyId,
    OSS_ACCESS_KEY_SECRET: accessKeySecret,
  } = env
  const file = join(dir, 'c.json')
  const settings = {
    endpoint,
    region: 'cn-hangzhou',
    accessKeyId,
    accessKeySecret,
    partSize: '100KiB',
    spool: join(dir, 'other'),
  }
  schema('config')(settings)
  await writeFile(file, JSON.stringify(settings), { mode: 0o600 })
  const put = ['put', `oss://${BUCKET}/k`, '--config=c.json', '--json', '--once', '--id=k']
  const done = await run(dir, put, Buffer.alloc(300_000), { OSS_SPOOL_DIR: '' })
  t.match(JSON.parse(done.out), { parts: 3 }, done.err)
  t.ok(await readFile(join(dir, 'other', 'k', 'checkpoint.json')))
  t.equal(oss.requests.filter(({ operation }) => operation === 'UploadPart').length, 3)
})

t.test('every command with --json has schemas that describe every property', async t => {
  const { out } = await run(t.testdir({}), ['completion', 'fish'])
  const withJson = [...out.matchAll(/__fish_seen_subcommand_from (\w+)' -l json /g)].map(
    ([, name = '']) => name,
  )
  t.same(withJson.toSorted(), Object.keys(OUTPUTS).toSorted())
  const names = readdirSync(pathOf('schema')).map(
    file => /^(.+)\.schema\.json$/.exec(file)?.[1] ?? file,
  )
  const used = new Set([...Object.values(OUTPUTS).flat(), 'progress', 'log', 'ping', 'config'])
  t.same(names.toSorted(), [...used].toSorted())
  const page = await readFile(pathOf('docs/cli.md'), 'utf8')
  for (const name of names) {
    t.match(page, new RegExp(`\\n\\| \`${name}\` +\\| `), 'is in the table of docs/cli.md')
    const { $id, title, ...rest } = read(name)
    t.equal($id, `urn:oss-spool:schema:1:${name}`)
    t.ok(title)
    t.same(findVague(rest), [], name)
  }
  const [status, show] = [read('status').properties, read('show').properties]
  t.same({ ...show, ...status }, show, 'show has every property of ls, with the same description')
})

/** Returns the paths of schemas without a description, or without `additionalProperties`. */
function findVague(part: object, path = ''): string[] {
  const { description, additionalProperties, properties, items } = part as Part
  const nested = Object.entries(properties ?? {}).map(([name, each]) => ({ name, each }))
  for (const each of [items, additionalProperties]) {
    if (typeof each === 'object' && !('type' in each && each.type === 'string')) {
      nested.push({ name: '*', each })
    }
  }
  return [
    ...(typeof description === 'string' ? [] : [`${path}: description`]),
    ...(properties !== undefined && additionalProperties === undefined ? [`${path}: more?`] : []),
    ...nested.flatMap(({ name, each }) => findVague(each, `${path}/${name}`)),
  ]
}

/** Parts of a JSON schema that are checked. */
interface Part {
  readonly description?: unknown
  readonly properties?: Readonly<Record<string, object>>
  readonly items?: object
  readonly additionalProperties?: boolean | object
}

t.test('the published schemas match the setting definitions and real output', async t => {
  t.same(
    Object.keys(read('config').properties)
      .filter(name => name !== '$schema')
      .toSorted(),
    SETTING_DEFINITIONS.filter(({ perCall }) => perCall !== true)
      .map(({ name }) => name)
      .toSorted(),
  )
  const made = spawnSync(process.execPath, [pathOf('scripts/config-schema.mjs'), '--check'])
  t.equal(made.status, 0, String(made.stderr))
  for (const right of [{}, { partSize: 5, maxRate: '1.5 MB' }]) t.ok(schema('config')(right))
  for (const wrong of [{ regio: 'x' }, { partSize: 'big' }, { internal: 'yes' }, []]) {
    t.throws(() => schema('config')(wrong))
  }
  const dir = t.testdir({ file: 'x' })
  const { oss, env } = await server(t, dir)
  const put = ['put', WHERE, 'file', '--json', '--id=f']
  const changed = ['put', WHERE, 'file', '--json', '--if-changed', '--id=other']
  for (const args of [[...put, '--once'], put, changed]) {
    t.match(JSON.parse((await run(dir, args, undefined, env)).out), { key: 'f' })
  }
  oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  const failed = await run(
    dir,
    ['put', `oss://${BUCKET}/f`, '--json', '--retries=1', '--id=k'],
    Buffer.from('x'),
    env,
  )
  t.match(JSON.parse(failed.out), { error: { code: 'ERR_SPOOL_DENIED', id: 'k' } })
  await run(dir, ['run', `oss://${BUCKET}/r`, '--id=r', '--', 'false'], undefined, env)
  await mkdir(join(dir, 'spool', 'damaged'))
  await writeFile(join(dir, 'spool', 'damaged', 'checkpoint.json'), '{')
  const ls = await run(dir, ['ls', '--json'])
  t.match(ls.err, /damaged/)
  const listed = ls.out
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  t.same(
    listed.map(({ id }) => String(id)).toSorted(),
    ['k', 'r'],
    'lists neither receipts nor the quarantine',
  )
  const all = (await run(dir, ['ls', '--json', '--all'])).out
  t.match(all, '"phase":"receipt"')
  t.match(all, '{"quarantine":{"name":"damaged-')
  t.match((await run(dir, ['ls'])).out, /\n\nQUARANTINE +PATH +SINCE\ndamaged-/)
  for (const id of ['k', 'r', 'f']) {
    t.match(JSON.parse((await run(dir, ['show', id, '--json'])).out), { id })
  }
  t.match(await run(dir, ['show', 'nope', '--json']), { status: 1, out: /ERR_SPOOL_NOT_FOUND/ })
  const prune = ['prune', '--older-than=0s', '--sealed', '--json']
  const pruned = await run(dir, prune, undefined, env)
  t.same(pruned.out.match(/"kind":"\w+"/g)?.toSorted(), [
    '"kind":"quarantine"',
    '"kind":"receipt"',
    '"kind":"upload"',
    '"kind":"upload"',
  ])
  const piped = await shell(dir, 'oss-spool doctor --json | head -c 20', env).done
  t.equal(piped.out, '{"ok":true,"checks":')
})
