/**
 * Every command that a message proposes works as it is printed: with the flags that were given, from any directory,
 * once its cause is fixed. The commands between double quotes are extracted from the output of each scenario, and
 * `sh` splits them into arguments.
 */
import { execFileSync } from 'node:child_process'
import { appendFile, mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import OSS from 'ali-oss'
import t, { type Test } from 'tap'
import { startEmulator, type Emulator, type Fault } from '../../src/emulator/index.js'
import { Spool } from '../../src/index.js'
import { get, PART, start, until, type Ended, type Env } from '../support/command-line.js'
import { run, runLine } from '../support/in-process.js'
import { BUCKET, bytes } from '../support/oss.js'
import { sampled } from '../support/long.js'
import { tinyDisk } from '../support/tiny-disk.js'

/** Needs every kind of quotes. */
const SPOOL = `a "spool" that's odd`
const K = `oss://${BUCKET}/k`
const REFUSED = { do: 'answer', status: 403, code: 'AccessDenied', times: 'always' } as const
const RESET = { do: 'reset', at: 'done', times: 'always' } as const
const DATA = bytes(2 * PART)

/** Scenarios take seconds each, so only some of them run with the other tests. */
const ONE_IN = 4
const SCENARIOS: [name: string, body: (t: Test) => Promise<void>][] = []

function scenario(name: string, body: (t: Test) => Promise<void>): void {
  SCENARIOS.push([name, body])
}

/** A spool at an emulator that only flags select; the environment has the keys alone. */
interface Site {
  readonly dir: string
  readonly oss: Emulator
  readonly keys: Env
  readonly flags: readonly string[]
  readonly spool: string
}

async function site(t: Test, name = SPOOL): Promise<Site> {
  const dir = t.testdir({ elsewhere: {} })
  const oss = await startEmulator({ dir: join(dir, 'server'), buckets: [BUCKET] })
  t.teardown(() => oss.close())
  const spool = join(dir, name)
  return { dir, oss, spool, keys: keysOf(oss), flags: ['--spool', name, ...flagsOf(oss)] }
}

function keysOf({ credentials }: Emulator): Env {
  const { accessKeyId, accessKeySecret } = credentials
  return { OSS_ACCESS_KEY_ID: accessKeyId, OSS_ACCESS_KEY_SECRET: accessKeySecret }
}

function flagsOf({ endpoint }: Emulator): string[] {
  return ['--endpoint', endpoint, '--region', 'cn-hangzhou']
}

function putArgs({ flags }: Site, ...more: string[]): string[] {
  return ['put', K, '--id=k', '--retries=1', '--part-size=100KiB', ...flags, ...more]
}

/** Runs a command that has to fail with `status`. Returns its standard error. */
async function failing(
  t: Test,
  { dir, keys }: Site,
  args: readonly string[],
  status: number,
  input?: Buffer,
): Promise<string> {
  const done = await run(dir, args, input, keys)
  t.equal(done.status, status, done.err)
  return done.err
}

/** Leaves a sealed upload that OSS refuses, in an empty spool. Returns the fault. */
async function seal(t: Test, at: Site, ...more: string[]): Promise<ReturnType<Emulator['inject']>> {
  const fault = at.oss.inject({ operation: ['CompleteMultipartUpload', 'PutObject'], ...REFUSED })
  await rm(at.spool, { recursive: true, force: true })
  await failing(t, at, putArgs(at, ...more), 75, DATA)
  return fault
}

/**
 * Extracts the commands between double quotes. Inside them, a double quote is between single quotes. A command with
 * a placeholder is for the user to fill in.
 */
function proposalsIn(text: string): string[] {
  const found = text.matchAll(/"(oss-spool (?:'[^']*'|\\'|[^"'\\\n])*)"/g)
  return [...found].map(([, command = '']) => command).filter(each => !each.includes('BUCKET'))
}

function runProposed({ dir, keys }: Site, command: string): Promise<Ended> {
  const env = { HOME: dir, OSS_SPOOL_DIR: join(dir, 'spool'), ...keys }
  return runLine(join(dir, 'elsewhere'), command, env)
}

/**
 * Runs every command that `text` proposes, each in the state of the spool in which it was proposed.
 * @param words – one for each command that must be proposed, in order
 */
async function proposes(t: Test, at: Site, text: string, words: readonly string[]): Promise<void> {
  const commands = proposalsIn(text)
  t.match(commands, words, text)
  t.equal(commands.length, words.length, text)
  const copy = join(at.dir, 'copy')
  execFileSync('cp', ['-a', at.spool, copy])
  for (const command of commands) {
    const { status, err } = await runProposed(at, command)
    t.equal(status, 0, `${command}: ${err}`)
    await rm(at.spool, { recursive: true })
    execFileSync('cp', ['-a', copy, at.spool])
  }
  await rm(copy, { recursive: true })
}

/** Expects the commands for an upload whose key is taken. None of them replaces the other object. */
async function proposesAnotherKey(t: Test, at: Site, text: string): Promise<void> {
  const before = await get(at.oss, 'k')
  t.match(text, '--to oss://BUCKET/NEW-KEY')
  const filledIn = text.replace('oss://BUCKET/NEW-KEY', `oss://${BUCKET}/free`)
  await proposes(t, at, filledIn, ['oss-spool resume --to', 'oss-spool abort k'])
  t.ok((await get(at.oss, 'free'))?.equals(DATA))
  t.same(await get(at.oss, 'k'), before)
  await new OSS(at.oss.clientOptions(BUCKET)).delete('free')
}

scenario('a missing bucket, once it exists', async t => {
  const at = await site(t)
  const args = putArgs(at).map(arg => (arg === K ? 'oss://missing-bucket/k' : arg))
  const err = await failing(t, at, args, 75, DATA)
  await new OSS(at.oss.clientOptions(BUCKET)).putBucket('missing-bucket')
  await proposes(t, at, err, ['oss-spool resume k'])
})

scenario('a refusal, once OSS allows the request', async t => {
  const at = await site(t)
  const refusals: Fault[] = [
    { operation: ['UploadPart', 'PutObject', 'InitiateMultipartUpload'], ...REFUSED },
    { operation: 'CompleteMultipartUpload', ...REFUSED, status: 409, code: 'FileImmutable' },
    { operation: 'UploadPart', ...REFUSED, status: 503, code: 'ServiceUnavailable' },
  ]
  for (const fault of refusals) {
    const injected = at.oss.inject(fault)
    const err = await failing(t, at, putArgs(at), 75, DATA)
    injected.remove()
    await proposes(t, at, err, ['oss-spool resume k'])
    await rm(at.spool, { recursive: true })
  }
})

scenario('an id that starts with a hyphen', async t => {
  const at = await site(t)
  const fault = at.oss.inject({ operation: 'CompleteMultipartUpload', ...REFUSED })
  const args = putArgs(at).map(arg => (arg === '--id=k' ? '--id=-k' : arg))
  const err = await failing(t, at, args, 75, DATA)
  fault.remove()
  await proposes(t, at, err, ['oss-spool resume --spool'])
})

scenario('an object that exists', async t => {
  const at = await site(t)
  t.equal((await run(at.dir, putArgs(at), DATA, at.keys)).status, 0)
  const err = await failing(t, at, putArgs(at, '--no-overwrite'), 1, DATA)
  await proposesAnotherKey(t, at, err)
  for (const args of [
    ['resume', '--all', ...at.flags],
    ['show', 'k', '--spool', SPOOL],
  ]) {
    const { status, out, err } = await run(at.dir, args, undefined, at.keys)
    t.equal(status, 0)
    await proposesAnotherKey(t, at, out + err)
  }
  const { out } = await run(at.dir, ['doctor', ...at.flags], undefined, at.keys)
  await proposes(t, at, out, ['oss-spool show k'])
})

scenario('an upload that is not sealed', async t => {
  const at = await site(t)
  const args = ['run', K, '--id=k', ...at.flags, '--', 'false']
  t.same(proposalsIn(await failing(t, at, args, 1)), [])
  const err = await failing(t, at, ['resume', 'k', ...at.flags], 1)
  await proposes(t, at, err, ['oss-spool abort k'])
  const { out } = await run(at.dir, ['show', 'k', '--spool', SPOOL], undefined, at.keys)
  await proposes(t, at, out, ['oss-spool abort k'])
})

scenario('an expectation that is not met', async t => {
  const at = await site(t)
  const err = await failing(t, at, putArgs(at, '--expect-bytes=5'), 1, DATA)
  t.same(proposalsIn(err), [])
  const fault = await seal(t, at)
  const args = ['run', K, '--id=k', '--expect-bytes=5', ...at.flags, '--', 'true']
  const late = await failing(t, at, args, 1)
  fault.remove()
  await proposes(t, at, late, ['oss-spool resume k'])
})

scenario('an id that belongs to another key, also at another endpoint', async t => {
  const at = await site(t)
  const fault = await seal(t, at)
  const other = putArgs(at).map(arg => (arg === K ? `oss://${BUCKET}/other` : arg))
  const err = await failing(t, at, other, 1, DATA)
  fault.remove()
  await proposes(t, at, err, ['oss-spool resume k --spool', 'oss-spool abort k --spool'])
  await seal(t, at).then(each => each.remove())
  const local = ['put', K, '--id=k', '--spool', SPOOL, '--local']
  const elsewhere = await failing(t, at, local, 1, DATA)
  t.match(elsewhere, at.oss.endpoint)
  await proposes(t, at, elsewhere, ['oss-spool resume k --spool', 'oss-spool abort k --spool'])
})

scenario('an id that does not exist', async t => {
  const at = await site(t)
  await seal(t, at)
  for (const command of ['resume', 'abort', 'show']) {
    const flags = command === 'show' ? ['--spool', SPOOL] : at.flags
    const err = await failing(t, at, [command, 'nope', ...flags], 1)
    await proposes(t, at, err, ['oss-spool ls'])
  }
})

scenario('an upload that is locked proposes nothing', async t => {
  const at = await site(t)
  const input = new PassThrough()
  const owner = start(at.dir, putArgs(at), input, at.keys)
  input.write(DATA)
  await until(() => at.oss.requests.some(({ operation }) => operation === 'UploadPart'))
  for (const args of [['resume', 'k', ...at.flags], putArgs(at)]) {
    t.same(proposalsIn(await failing(t, at, args, 75, DATA)), [])
  }
  t.same(proposalsIn(await failing(t, at, ['abort', 'k', ...at.flags], 1)), [])
  const { out } = await run(at.dir, ['show', 'k', '--spool', SPOOL])
  t.same(proposalsIn(out), [])
  input.end()
  t.equal((await owner.done).status, 0)
})

scenario('an upload whose outcome is unknown, with and without the permission to look', async t => {
  const at = await site(t)
  const cut = at.oss.inject({ operation: 'CompleteMultipartUpload', ...RESET })
  const blind = at.oss.inject({ operation: ['HeadObject', 'ListParts', 'GetObject'], ...REFUSED })
  const err = await failing(t, at, putArgs(at), 75, DATA)
  cut.remove()
  const commands = ['oss-spool resume k', 'oss-spool resume --force k']
  t.match(proposalsIn(err), commands)
  const forced = await runProposed(at, proposalsIn(err)[1] ?? '')
  t.equal(forced.status, 0, `works without the permissions: ${forced.err}`)
  const again = at.oss.inject({ operation: 'CompleteMultipartUpload', ...RESET })
  const unknown = await failing(t, at, putArgs(at), 75, DATA)
  again.remove()
  blind.remove()
  await proposes(t, at, unknown, commands)
})

scenario('an unanswered Complete of an earlier run that cannot be aborted', async t => {
  const at = await site(t)
  const cut = at.oss.inject({
    operation: ['CompleteMultipartUpload', 'HeadObject'],
    do: 'reset',
    at: 'start',
    times: 'always',
  })
  await failing(t, at, putArgs(at), 75, DATA)
  cut.remove()
  const refusal = at.oss.inject({ operation: 'AbortMultipartUpload', ...REFUSED })
  const err = await failing(t, at, putArgs(at, '--meta', 'run=b'), 75, DATA)
  t.equal((await runProposed(at, proposalsIn(err)[1] ?? '')).status, 0, 'works without it')
  refusal.remove()
  t.match(proposalsIn(err), ['oss-spool resume k', 'oss-spool resume --force k'])
})

scenario('an abort that OSS refuses, by abort and by prune', async t => {
  const at = await site(t)
  const sealing = await seal(t, at)
  const refusal = at.oss.inject({ operation: 'AbortMultipartUpload', ...REFUSED })
  const commands = ['oss-spool abort k', 'oss-spool abort --no-remote k']
  const errors = [
    await failing(t, at, ['abort', 'k', ...at.flags], 1),
    await failing(t, at, ['abort', '--all', ...at.flags], 1),
    await failing(t, at, ['prune', '--sealed', '--older-than=0s', '--yes', ...at.flags], 1),
  ]
  const here = await runProposed(at, proposalsIn(errors[0] ?? '')[1] ?? '')
  t.equal(here.status, 0, 'gives up here, although OSS refuses')
  await failing(t, at, putArgs(at), 75, DATA)
  refusal.remove()
  for (const err of errors) await proposes(t, at, err, commands)
  sealing.remove()
})

scenario('uploads of other endpoints', async t => {
  const at = await site(t)
  await seal(t, at).then(fault => fault.remove())
  const other = await startEmulator({ dir: join(at.dir, 'other'), buckets: [BUCKET] })
  t.teardown(() => other.close())
  const flags = ['--spool', SPOOL, ...flagsOf(other)]
  const remembered = { ...at, flags }
  const resumed = await run(at.dir, ['resume', '--all', ...flags], undefined, at.keys)
  t.equal(resumed.status, 0)
  const command = `oss-spool resume k --spool`
  await proposes(t, remembered, resumed.err, [command])
  await seal(t, at).then(fault => fault.remove())
  const aborted = await run(at.dir, ['abort', '--all', ...flags], undefined, at.keys)
  t.equal(aborted.status, 0)
  await proposes(t, remembered, aborted.err, ['oss-spool abort k --spool'])
  await seal(t, at).then(fault => fault.remove())
  const examined = await run(at.dir, ['doctor', ...flags], undefined, at.keys)
  await proposes(t, remembered, examined.out, ['oss-spool resume --all --spool'])
  t.ok((await get(at.oss, 'k'))?.equals(DATA), 'resume --all published it there')
  await seal(t, at).then(fault => fault.remove())
  const shown = await run(at.dir, ['show', 'k', '--spool', SPOOL], undefined, {
    OSS_ENDPOINT: other.endpoint,
    OSS_REGION: 'cn-hangzhou',
  })
  await proposes(t, remembered, shown.out, [command])
  const stale = ['resume', '--all', '--stale-after=0s', ...flags]
  const err = await failing(t, at, stale, 1)
  await proposes(t, at, err, [command, 'oss-spool show k --spool'])
})

scenario('an embedded OSS, from another directory and by another connection', async t => {
  const at = await site(t)
  const local = ['--spool', SPOOL, `--local=my "objects"`]
  const put = ['put', K, '--id=k', '--max-rate=20KB', ...local]
  const interrupted = start(at.dir, put, DATA)
  await until(async () => {
    const { out } = await run(at.dir, ['ls', '--json', '--spool', SPOOL])
    return /"phase":"(sealed|completing)"/.test(out)
  })
  interrupted.child.kill('SIGINT')
  const { status, err } = await interrupted.done
  t.equal(status, 130, err)
  await proposes(t, at, err, ['oss-spool resume k --spool'])
  t.match(proposalsIn(err)[0], /'--local=\/.*my "objects"'$/)

  const again = start(at.dir, put.with(1, `oss://${BUCKET}/other`).with(2, '--id=other'), DATA)
  await until(async () => {
    const { out } = await run(at.dir, ['ls', '--json', '--spool', SPOOL])
    return /"id":"other".*"phase":"(sealed|completing)"/.test(out)
  })
  again.child.kill('SIGKILL')
  await again.done
  for (const [command, code] of [
    ['resume', 75],
    ['abort', 1],
  ] as const) {
    const refused = await failing(t, at, [command, 'other', ...at.flags], code)
    await proposes(t, at, refused, [`oss-spool ${command} other --spool`])
  }
})

scenario('an interrupted upload', async t => {
  const at = await site(t)
  const input = new PassThrough()
  const unsealed = start(at.dir, putArgs(at), input, at.keys)
  input.write(DATA)
  await until(() => at.oss.requests.some(({ operation }) => operation === 'UploadPart'))
  unsealed.child.kill('SIGTERM')
  const early = await unsealed.done
  t.equal(early.status, 143)
  t.same(proposalsIn(early.err), [])

  const held = at.oss.inject({ operation: 'CompleteMultipartUpload', do: 'delay', ms: 60_000 })
  const sealed = start(at.dir, putArgs(at), DATA, at.keys)
  await held.hit()
  sealed.child.kill('SIGINT')
  const late = await sealed.done
  t.equal(late.status, 130)
  await proposes(t, at, late.err, ['oss-spool resume k'])
})

scenario('a network that is down, once it is back', async t => {
  const at = await site(t)
  await at.oss.close()
  const err = await failing(t, at, putArgs(at), 75, DATA)
  const { port } = new URL(at.oss.endpoint)
  const { credentials } = at.oss
  const dir = join(at.dir, 'server')
  const oss = await startEmulator({ dir, port: Number(port), credentials, buckets: [BUCKET] })
  t.teardown(() => oss.close())
  await proposes(t, at, err, ['oss-spool resume k'])
})

scenario('settings of a configuration file', async t => {
  const at = await site(t)
  const { OSS_ACCESS_KEY_ID: accessKeyId, OSS_ACCESS_KEY_SECRET: accessKeySecret } = at.keys
  const settings = {
    endpoint: at.oss.endpoint,
    region: 'cn-hangzhou',
    accessKeyId,
    accessKeySecret,
  }
  const config = JSON.stringify({ ...settings, spool: at.spool })
  await writeFile(join(at.dir, 'my config.json'), config, { mode: 0o600 })
  const flags = ['--config', 'my config.json']
  const without = { ...at, flags, keys: { OSS_SPOOL_DIR: '' } }
  const fault = await seal(t, without)
  const err = await failing(t, without, ['resume', 'k', '--retries=1', ...flags], 75)
  t.notMatch(err, accessKeySecret ?? '')
  fault.remove()
  await proposes(t, without, err, ['oss-spool resume k --config'])
})

scenario('a committed upload', async t => {
  const at = await site(t)
  const spool = new Spool({ client: at.oss.clientOptions(BUCKET), dir: at.spool })
  const sink = spool.createWriteStream('k', { id: 'k', partSize: PART })
  sink.on('error', () => {})
  sink.write(DATA)
  await sink.commit()
  sink.destroy()
  await sink.result.catch(() => undefined) // its code is not what this test is about
  const fault = at.oss.inject({ operation: 'CompleteMultipartUpload', ...REFUSED })
  const shown = await run(at.dir, ['show', 'k', '--spool', SPOOL], undefined, at.keys)
  const err = await failing(t, at, ['resume', 'k', '--retries=1', ...at.flags], 75)
  fault.remove()
  await proposes(t, at, err, ['oss-spool resume k'])
  t.equal(proposalsIn(shown.out).length, 2)
})

scenario('a file that changed while it was uploaded in place', async t => {
  const at = await site(t)
  await writeFile(join(at.dir, 'file'), DATA)
  const fault = at.oss.inject({ operation: 'CompleteMultipartUpload', ...REFUSED })
  await failing(t, at, putArgs(at, 'file', '--in-place'), 75)
  fault.remove()
  await appendFile(join(at.dir, 'file'), 'x')
  const err = await failing(t, at, ['resume', 'k', ...at.flags], 1)
  await proposes(t, at, err, ['oss-spool abort k'])
  const shown = await run(at.dir, ['show', 'k', '--spool', SPOOL], undefined, at.keys)
  await proposes(t, at, shown.out, ['oss-spool abort k'])
})

scenario('damaged and unreadable uploads', async t => {
  const at = await site(t)
  await mkdir(join(at.spool, 'unreadable', 'checkpoint.json'), { recursive: true })
  t.same(proposalsIn(await failing(t, at, ['resume', 'unreadable', ...at.flags], 1)), [])
  await rm(join(at.spool, 'unreadable'), { recursive: true })
  await mkdir(join(at.spool, 'damaged'), { recursive: true })
  await writeFile(join(at.spool, 'damaged', 'checkpoint.json'), '{')
  t.same(proposalsIn(await failing(t, at, ['resume', 'damaged', ...at.flags], 1)), [])
  const { out } = await run(at.dir, ['doctor', ...at.flags], undefined, at.keys)
  await proposes(t, at, out, ['oss-spool ls', 'oss-spool prune'])
})

scenario('a receipt', async t => {
  const at = await site(t)
  t.equal((await run(at.dir, putArgs(at, '--once'), DATA, at.keys)).status, 0)
  const { out } = await run(at.dir, ['show', 'k', '--spool', SPOOL])
  await proposes(t, at, out, ['oss-spool prune'])
})

scenario('a full disk, and one that is read-only', async t => {
  const disk = tinyDisk(t)
  if (disk === undefined) return
  const at = await site(t)
  const flags = ['--spool', join(disk.path, 'spool'), ...flagsOf(at.oss)]
  const tiny = { ...at, spool: join(disk.path, 'spool'), flags }
  t.same(proposalsIn(await failing(t, tiny, putArgs(tiny), 1, bytes(PART))), [])
  disk.protect()
  const [command = ''] = proposalsIn(await failing(t, tiny, putArgs(tiny), 1, DATA))
  t.match(command, 'oss-spool doctor --spool')
  t.match(await runProposed(at, command), { status: 1, out: /^FAILED/, err: '' }, 'finds the cause')
})

scenario('wrong usage, and credentials that OSS rejects', async t => {
  const at = await site(t)
  await mkdir(at.spool)
  const usage = await failing(t, at, ['resume', ...at.flags], 2)
  await proposes(t, at, usage, ['oss-spool resume --help'])
  const wrong = { ...at.keys, OSS_ACCESS_KEY_SECRET: 'wrong' }
  const doctor = ['doctor', `oss://${BUCKET}/`, ...at.flags]
  const rejected = await run(at.dir, doctor, undefined, wrong)
  t.equal(rejected.status, 1)
  await proposes(t, at, rejected.out, ['oss-spool config show'])
  const none = await run(at.dir, ['doctor', '--spool', SPOOL])
  t.equal(none.status, 1)
  await proposes(t, at, none.out, ['oss-spool config show'])
  at.oss.inject({
    operation: 'InitiateMultipartUpload',
    ...REFUSED,
    status: 500,
    code: 'Oops',
    times: 1,
  })
  const late = await run(at.dir, doctor, undefined, at.keys)
  await proposes(t, at, late.out, [`oss-spool doctor oss://${BUCKET}/`])
})

for (const [name, body] of sampled(t, SCENARIOS, ONE_IN)) void t.test(name, body)
