/** Ids of uploads as arguments: in full, by a unique start, by the URL of the object; and those in quarantine. */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Emulator } from '../../src/emulator/index.js'
import { get, server, type Env } from '../support/command-line.js'
import { run, runLine } from '../support/in-process.js'
import { BUCKET } from '../support/oss.js'

/** Leaves a sealed upload of `content` to the key `key`. */
async function seal(dir: string, env: Env, id: string, key = id, content = id): Promise<void> {
  const args = ['put', `oss://${BUCKET}/${key}`, `--id=${id}`, '--retries=1']
  await run(dir, args, Buffer.from(content), env)
}

async function refusing(
  t: Test,
  dir: string,
): Promise<{ oss: Emulator; env: Env; allow: () => void }> {
  const { oss, env } = await server(t, dir)
  const fault = oss.inject({
    operation: 'PutObject',
    do: 'answer',
    status: 403,
    code: 'AccessDenied',
    times: 'always',
  })
  return { oss, env, allow: () => fault.remove() }
}

t.test('resume, show and abort accept the unique start of an id', async t => {
  const dir = t.testdir({})
  const { oss, env, allow } = await refusing(t, dir)
  for (const id of ['db', 'db-monday', 'db-tuesday']) await seal(dir, env, id)
  allow()
  for (const command of ['resume', 'show', 'abort']) {
    const { status, out, err } = await run(dir, [command, 'db-'], undefined, env)
    t.match({ status, out }, { status: 2, out: '' })
    t.match(err, /ERR_USAGE: .*db-monday, db-tuesday\n/)
  }
  t.match(JSON.parse((await run(dir, ['show', 'db', '--json'])).out), { id: 'db' })
  t.match(JSON.parse((await run(dir, ['show', 'db-m', '--json'])).out), { id: 'db-monday' })
  const twice = await run(dir, ['resume', 'db-m', 'db-monday', '--json'], undefined, env)
  t.match(JSON.parse(twice.out), { id: 'db-monday' })
  t.equal(String(await get(oss, 'db-monday')), 'db-monday')
  const aborted = await run(dir, ['abort', 'db-', '--json'], undefined, env)
  t.same(JSON.parse(aborted.out), { id: 'db-tuesday', aborted: true })
  for (const unknown of ['nothing', 'B']) {
    t.match(await run(dir, ['resume', unknown], undefined, env), {
      status: 1,
      err: /ERR_SPOOL_NOT_FOUND/,
    })
  }
  t.match(await run(dir, ['abort', ''], undefined, env), { status: 2 })
  t.match(readdirSync(join(dir, 'spool')), ['db'])
})

t.test('resume, show and abort accept the URL of an object', async t => {
  const dir = t.testdir({})
  const { oss, env, allow } = await refusing(t, dir)
  const url = `oss://${BUCKET}/a/b`
  await seal(dir, env, 'first', 'a/b')
  await seal(dir, env, 'other', 'a/b/c')
  t.match(JSON.parse((await run(dir, ['show', url, '--json'])).out), { id: 'first' })
  const nowhere = { ...env, OSS_ENDPOINT: 'http://127.0.0.1:9' }
  await seal(dir, nowhere, 'elsewhere', 'a/b')
  t.match(await run(dir, ['show', url]), { status: 2, err: /first \(http.*elsewhere \(http/ })
  allow()
  const done = await run(dir, ['resume', url, '--json'], undefined, env)
  t.match(JSON.parse(done.out), { id: 'first' }, 'the upload of this endpoint is preferred')
  t.equal(String(await get(oss, 'a/b')), 'first')
  await seal(dir, nowhere, 'same', 'a/b')
  t.match(await run(dir, ['abort', url], undefined, env), {
    status: 2,
    err: /elsewhere.*same/,
  })
  const missing = await run(dir, ['resume', `oss://${BUCKET}/x`, '--json'], undefined, env)
  t.equal(missing.status, 1)
  t.match(JSON.parse(missing.out), { error: { code: 'ERR_SPOOL_NOT_FOUND' } })
  t.equal((await run(dir, ['abort', `oss://${BUCKET}/a/b/c`], undefined, env)).status, 0)
})

t.test('an upload in quarantine is uploaded by the proposed command', async t => {
  const dir = t.testdir({})
  const { oss, env, allow } = await refusing(t, dir)
  const content = "it's all here"
  for (const id of ['digest', 'unreadable', 'flipped', 'cut']) {
    await seal(dir, env, id, `${id} '1'`, content)
    const files = readdirSync(join(dir, 'spool', id))
    const record = join(dir, 'spool', id, 'checkpoint.json')
    const bytes = join(dir, 'spool', id, files.find(name => name.startsWith('spool-')) ?? '')
    if (id === 'digest') writeFileSync(record, readFileSync(record, 'utf8').replace('sha256:', ''))
    else if (id === 'unreadable') writeFileSync(record, '{')
    else writeFileSync(bytes, id === 'cut' ? 'it' : content.toUpperCase())
  }
  allow()
  for (const id of ['digest', 'unreadable', 'flipped', 'cut']) {
    await run(dir, ['resume', id], undefined, env) // moves it to the quarantine
    for (const command of ['show', 'abort', 'resume']) {
      const { status, err } = await run(dir, [command, id], undefined, env)
      t.equal(status, 1)
      t.match(err, new RegExp(`ERR_SPOOL_NOT_FOUND: .*${dir}/spool/quarantine/${id}-2`))
      const proposed = /run "(oss-spool put .*)"\.$/m.exec(err)?.[1]
      t.equal(proposed === undefined, id === 'cut', err)
      if (proposed === undefined || command !== 'resume') continue
      t.match(proposed, `${dir}/spool/quarantine/${id}-2`)
      const line = proposed.replace('oss://BUCKET/KEY', `"oss://${BUCKET}/unreadable '1'"`)
      const uploaded = await runLine(dir, line, env)
      t.equal(uploaded.status, id === 'flipped' ? 1 : 0, uploaded.err)
      if (id === 'flipped') t.match(uploaded.err, /ERR_SPOOL_EXPECTATION/)
      t.equal(
        await get(oss, `${id} '1'`).then(body => body && String(body)),
        id === 'flipped' ? undefined : content,
      )
    }
  }
})

t.test('--acl and --tag set the access control list and the tags', async t => {
  const dir = t.testdir({})
  const { oss, env } = await server(t, dir)
  const args = [
    'put',
    `oss://${BUCKET}/k`,
    '--acl=public-read',
    '--tag=team=data',
    '--tag',
    'a=b=c',
  ]
  t.equal((await run(dir, args, Buffer.from('x'), env)).status, 0)
  const response = await fetch(`${oss.endpoint}/${BUCKET}/k`)
  t.equal(response.status, 200, 'anyone may read it')
  t.equal(response.headers.get('x-oss-tagging-count'), '2')
  for (const wrong of [['--acl=secret'], ['--tag=x'], ['--storage-class=Cheap']]) {
    const done = await run(dir, [...args.slice(0, 2), ...wrong], undefined, env)
    t.match(done, { status: 2, err: /public-read-write|NAME=VALUE|DeepColdArchive/ })
  }
})
