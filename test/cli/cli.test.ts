/** The command line: stored objects, output and exit status. */
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import { startEmulator } from '../../src/emulator/index.js'
import { environment, PART, start } from '../support/command-line.js'
import { run } from '../support/in-process.js'
import { BUCKET, bytes, streamOf } from '../support/oss.js'
import { long } from '../support/long.js'
import { urlOf } from '../support/project.js'

/** Reads an object of the embedded OSS as any client would. */
async function stored(t: Test, dir: string, bucket: string, key: string): Promise<Buffer> {
  const oss = await startEmulator({ dir: join(dir, 'oss-data') })
  t.teardown(() => oss.close())
  const { content } = await new OSS(oss.clientOptions(bucket)).get(key)
  return Buffer.from(content)
}

t.test('put uploads standard input and a file, and prints the result as text or JSON', async t => {
  const dir = t.testdir({})
  const data = bytes(10 * PART + 1)
  const put = await run(
    dir,
    ['put', '--local', 'oss://bucket/from stdin', '--part-size', '100KiB'],
    data,
  )
  t.match(put, {
    status: 0,
    err: '',
    out: /^oss:\/\/bucket\/from stdin: 1000\.0 KiB in 11 parts, CRC64 \d+, .*\n$/,
  })
  t.same(await stored(t, dir, 'bucket', 'from stdin'), data)

  await writeFile(join(dir, 'file.bin'), data)
  const json = await run(dir, [
    'put',
    '--json',
    '--local=oss-data',
    'oss://bucket/f.bin',
    'file.bin',
    '--meta',
    'a=b',
  ])
  t.match(json, { status: 0, err: '' })
  t.match(JSON.parse(json.out), {
    bucket: 'bucket',
    key: 'f.bin',
    size: data.length,
    parts: 1,
    sourceRead: true,
  })
  t.same(await stored(t, dir, 'bucket', 'f.bin'), data)
  t.same(await readdir(join(dir, 'spool')), [])
})

t.test(
  'resume --all finishes an upload killed after the seal, without stdin, and sends only the missing parts',
  async t => {
    const dir = t.testdir({})
    const oss = await startEmulator({ dir: join(dir, 'server'), buckets: [BUCKET] })
    t.teardown(() => oss.close())
    const env = environment(oss)
    oss.inject({
      operation: 'UploadPart',
      partNumber: [7, 8, 9, 10],
      do: 'hang',
      times: 'always',
    })
    const data = bytes(10 * PART)
    const { child, done } = start(
      dir,
      ['put', `oss://${BUCKET}/k`, '--part-size=100KiB', '--id=k'],
      streamOf(data),
      env,
    )
    for (;;) {
      const listed = await run(dir, ['ls', '--json'], undefined, env)
      if (listed.status !== 0) throw new Error(listed.err)
      if (listed.out !== '' && JSON.parse(listed.out).phase === 'sealed') {
        const acknowledged = oss.requests.filter(
          r => r.operation === 'UploadPart' && r.status === 200,
        )
        if (acknowledged.length === 6) break
      }
    }
    child.kill('SIGKILL')
    await done
    await oss.close() // including the hanging requests
    const again = await startEmulator({ dir: oss.dir, port: oss.port })
    t.teardown(() => again.close())
    const table = await run(dir, ['ls'], undefined, env)
    t.match(table, { status: 0, out: /ID +OBJECT +PHASE.*\nk +oss:\/\/test-bucket\/k +sealed/ })
    const resumed = await run(dir, ['resume', '--all', '--json'], undefined, env)
    t.match(resumed, { status: 0 })
    t.match(JSON.parse(resumed.out), {
      id: 'k',
      resumed: true,
      sourceRead: false,
      skipped: 6 * PART,
      sent: 4 * PART,
    })
    const { content } = await new OSS(again.clientOptions(BUCKET)).get('k')
    t.same(content, data)
    t.match(await run(dir, ['resume', '--all'], undefined, env), {
      status: 0,
      err: /nothing to do/,
      out: '',
    })
  },
)

void long(t, 'resumable failures exit with 75 and name the resume command', async t => {
  const dir = t.testdir({})
  const oss = await startEmulator({ dir: join(dir, 'server') })
  t.teardown(() => oss.close())
  const env = environment(oss)
  const data = bytes(3 * PART)
  const missing = await run(
    dir,
    ['put', `oss://${BUCKET}/k`, '--part-size=100KiB', '--id=m'],
    data,
    env,
  )
  t.match(missing, { status: 75, out: '' })
  t.match(missing.err, /^oss-spool: InitiateMultipartUpload: 404 NoSuchBucket/, 'is logged at once')
  t.match(
    missing.err,
    /\noss-spool: ERR_SPOOL_DENIED: oss:\/\/test-bucket\/k: .*NoSuchBucket.*\n.*"oss-spool resume m".*\n$/,
  )

  const wrong = { ...env, OSS_ACCESS_KEY_SECRET: 'not-it' }
  const refused = await run(dir, ['put', `oss://${BUCKET}/k2`, '--id=r', '--json'], data, wrong)
  t.match(refused, { status: 75 })
  t.match(JSON.parse(refused.out), {
    error: { code: 'ERR_SPOOL_DENIED', resumable: true, id: 'r' },
  })

  const unreachable = { ...env, OSS_ENDPOINT: 'http://127.0.0.1:9' }
  const down = await run(
    dir,
    ['put', `oss://${BUCKET}/k3`, '--id=d', '--retries=2'],
    data,
    unreachable,
  )
  t.match(down, { status: 75, err: /ERR_SPOOL_UPLOAD_FAILED.*ECONNREFUSED/ })

  await new OSS(oss.clientOptions()).putBucket(BUCKET)
  const resumed = await run(dir, ['resume', 'm', 'r', '--json'], undefined, env)
  t.match(resumed, { status: 0 })
  t.equal(resumed.out.trim().split('\n').length, 2)
  const elsewhere = await run(dir, ['abort', 'd', '--json'], undefined, env)
  t.match(elsewhere, { status: 1 })
  t.match(JSON.parse(elsewhere.out), { error: { code: 'ERR_SPOOL_ENDPOINT', id: 'd' } })
  t.match(await run(dir, ['abort', 'd', '--json'], undefined, unreachable), {
    status: 0,
    out: '{"id":"d","aborted":true}\n',
  })
  t.same(await readdir(join(dir, 'spool')), [])
})

t.test(
  'wrong usage exits with 2 and one line with the expected usage, and touches nothing',
  async t => {
    const dir = t.testdir({ folder: {} })
    const good = { OSS_ACCESS_KEY_ID: 'a', OSS_ACCESS_KEY_SECRET: 'b', OSS_REGION: 'cn-hangzhou' }
    const wrong: [string[], Record<string, string>?][] = [
      [['put', 'oss://b/k']], // bucket names have at least 3 characters
      [['put', 'oss://bucket/k']], // no credentials
      [['put', 'oss://bucket/k'], { ...good, OSS_REGION: '' }],
      [['put', '--local', 'bucket/k']],
      [['put', '--local', 'oss://bucket']],
      [['put', '--local', 'oss://bucket/']],
      [['put', '--local', 'oss://bucket/a/../b']],
      [['put', '--local', 'oss://bucket/k', '--part-size', '5']],
      [['put', '--local', 'oss://bucket/k', '--part-size', 'big']],
      [['put', '--local', 'oss://bucket/k', '--parallel', '0']],
      [['put', '--local', 'oss://bucket/k', '--id', '.x']],
      [['put', '--local', 'oss://bucket/k', '--meta', 'x']],
      [['put', '--local', 'oss://bucket/k', '--expect-md5', 'x']],
      [['put', '--local', 'oss://bucket/k', '--storage-class', 'Cheap']],
      [['put', '--local', 'oss://bucket/k', 'no-such-file']],
      [['put', '--local', 'oss://bucket/k', 'folder']],
      [['put', '--local', 'oss://bucket/k', '--partsize', '8MiB']],
      [['put']],
      [['resume'], good],
      [['abort'], good],
      [['frobnicate']],
    ]
    for (const [args, env] of wrong) {
      const { status, out, err } = await run(dir, args, undefined, env)
      t.equal(status, 2, args.join(' '))
      t.equal(out, '')
      t.ok(err.length > 10 && !/\n\s+at /.test(err), err)
    }
    t.notOk((await readdir(dir)).includes('spool'), 'no spool directory was created')
  },
)

t.test('resuming an unknown id exits with 1', async t => {
  const dir = t.testdir({})
  const env = { OSS_ACCESS_KEY_ID: 'a', OSS_ACCESS_KEY_SECRET: 'b', OSS_REGION: 'cn-hangzhou' }
  t.match(await run(dir, ['resume', 'nope'], undefined, env), {
    status: 1,
    err: /ERR_SPOOL_NOT_FOUND/,
  })
})

t.test('SIGINT keeps the state and exits with 130', async t => {
  const dir = t.testdir({})
  const oss = await startEmulator({ dir: join(dir, 'server'), buckets: [BUCKET] })
  t.teardown(() => oss.close())
  const env = environment(oss)
  const held = oss.inject({ operation: 'CompleteMultipartUpload', do: 'hang', times: 'always' })
  const data = bytes(3 * PART)
  const { child, done } = start(
    dir,
    ['put', `oss://${BUCKET}/k`, '--part-size=100KiB', '--id=k'],
    streamOf(data),
    env,
  )
  await held.hit()
  child.kill('SIGINT')
  t.match(await done, { status: 130, out: '', err: /ERR_SPOOL_ABORTED.*\n.*resume k/ })
  held.remove()
  t.match(await run(dir, ['resume', 'k'], undefined, env), { status: 0 })
})

t.test('credentials come from ~/.ossutilconfig if the environment has none', async t => {
  const dir = t.testdir({})
  const oss = await startEmulator({ dir: join(dir, 'server'), buckets: [BUCKET] })
  t.teardown(() => oss.close())
  const { accessKeyId, accessKeySecret } = oss.credentials
  await writeFile(
    join(dir, '.ossutilconfig'),
    `[Credentials]\nlanguage=EN\nendpoint=${oss.endpoint}\nregion=cn-hangzhou\naccessKeyID=${accessKeyId}\naccessKeySecret=${accessKeySecret}\n`,
    { mode: 0o600 },
  )
  t.match(await run(dir, ['put', `oss://${BUCKET}/k`], Buffer.from('x')), { status: 0 })
})

void long(
  t,
  "credentials come from Alibaba's default chain if no other source has any",
  async t => {
    const dir = t.testdir({ '.alibabacloud': { credentials: '' } })
    const oss = await startEmulator({ dir: join(dir, 'server'), buckets: [BUCKET] })
    t.teardown(() => oss.close())
    const { accessKeyId, accessKeySecret } = oss.credentials
    const place = { OSS_ENDPOINT: oss.endpoint, OSS_REGION: 'cn-hangzhou' }
    const fromEnvironment = {
      ...place,
      ALIBABA_CLOUD_ACCESS_KEY_ID: accessKeyId,
      ALIBABA_CLOUD_ACCESS_KEY_SECRET: accessKeySecret,
    }
    const args = ['put', `oss://${BUCKET}/k`]
    t.match(await run(dir, args, Buffer.from('x'), fromEnvironment), { status: 0, err: '' })
    await writeFile(
      join(dir, '.alibabacloud', 'credentials'),
      `[default]\ntype = access_key\naccess_key_id = ${accessKeyId}\naccess_key_secret = ${accessKeySecret}\n`,
    )
    t.match(await run(dir, args, Buffer.from('x'), place), { status: 0, err: '' })
    await writeFile(join(dir, '.alibabacloud', 'credentials'), '')
    t.match(await run(dir, args, undefined, place), { status: 2, out: '', err: /No credentials/ })
  },
)

void long(
  t,
  'without @alicloud/credentials, everything else works, and the error names the package',
  async t => {
    const hooks = `export async function resolve(name, context, next) {
    if (name !== '@alicloud/credentials') return next(name, context)
    throw Object.assign(new Error('hidden'), { code: 'ERR_MODULE_NOT_FOUND' })
  }`
    const hide = `import { register } from 'node:module'
    register('data:text/javascript,' + encodeURIComponent(${JSON.stringify(hooks)}))\n`
    const { href: dist } = urlOf('dist/')
    const dir = t.testdir({
      'cli.mjs': `${hide} await import('${dist}cli/bin.js')`,
      'library.mjs': `${hide}
      const { Spool, defaultCredentials } = await import('${dist}index.js')
      const credentials = defaultCredentials()
      const client = { region: 'oss-cn-hangzhou', bucket: 'bucket', credentials }
      const sink = new Spool({ client, dir: 'spool' }).createWriteStream('k', { id: 'k' })
      sink.on('error', ({ code, resumable, message }) => console.log(code, resumable, message))
      sink.end('bytes')`,
    })
    const cli = (args: string[], input?: Buffer) =>
      start(dir, args, input, { OSS_REGION: 'cn-hangzhou' }, join(dir, 'cli.mjs')).done
    t.match(await cli(['put', 'oss://bucket/k', '--local'], bytes(10)), { status: 0, err: '' })
    const refused = await cli(['put', 'oss://bucket/k'])
    t.match(refused, { status: 2, out: '', err: /or install @alicloud\/credentials/ })
    const library = await start(dir, [], undefined, {}, join(dir, 'library.mjs')).done
    t.match(library, { status: 0, err: '' })
    t.match(library.out, /^ERR_SPOOL_DENIED true .*needs the package @alicloud\/credentials/)
  },
)

t.test('--version prints the version of the package', async t => {
  const { version } = JSON.parse(await readFile(urlOf('package.json'), 'utf8'))
  t.match(await run(t.testdir({}), ['--version']), { status: 0, out: `${version}\n`, err: '' })
})
