/** `oss-spool worker --sandbox`: a source that misbehaves fails one attempt, and its worker does not notice. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import t from 'tap'
import { UploadQueue } from '../../src/bullmq/index.js'
import { BIN, environment, start, until } from '../support/command-line.js'
import { bench, BUCKET } from '../support/oss.js'
import { startRedis } from '../support/redis.js'

/** Each source misbehaves in the first call for `name`, after its first byte, and then works. */
const MODULE = `
import { existsSync, writeFileSync } from 'node:fs'
const flaky = misbehave => async function* ({ name }) {
  const file = new URL(name + '.called', import.meta.url)
  const isFirst = !existsSync(file)
  writeFileSync(file, '')
  yield name
  if (isFirst) await misbehave()
  yield ' works'
}
export const exits = flaky(() => process.exit(0))
export const blocks = flaky(() => { for (;;); })
export const eats = flaky(() => { for (const all = []; ; ) all.push(new Array(1e5).fill(Math.random())) })
export const throws = flaky(() => new Promise(() => setTimeout(() => { throw new Error('timer') })))
export const works = ({ name }) => [name, ' works']
`

/** ms after which a source that blocks is ended; a call that works takes less, also on a busy machine. */
const SOURCE_TIMEOUT = 8_000

/** A heap that a source fills quickly. The processes of the sources inherit it from the worker. */
const SMALL_HEAP = '--max-old-space-size=100'

t.test('a sandboxed source that ends its process fails one attempt and not the worker', async t => {
  const redis = await startRedis(t)
  if (redis === undefined) return
  const b = await bench(t)
  const queue = new UploadQueue<Record<string, (args: { name: string }) => string[]>>({
    connection: redis.connect(t),
    jobs: { attempts: 5, backoff: { type: 'fixed', delay: 50 } },
  })
  t.teardown(() => queue.close())
  const sources = join(t.testdirName, 'sources.mjs')
  await writeFile(sources, MODULE)
  const worker = start(
    t.testdirName,
    [BIN, 'worker', '--sandbox', '--sources', sources, '--health', '0', '--concurrency', '8'],
    undefined,
    {
      ...environment(b.oss),
      OSS_BUCKET: BUCKET,
      OSS_SPOOL_DIR: b.dir,
      REDIS_URL: redis.url,
    },
    SMALL_HEAP,
  )
  t.teardown(() => worker.child.kill('SIGKILL'))
  let said = ''
  worker.child.stderr?.on('data', (text: Buffer) => (said += String(text)))
  await until(() => /health on \S+/.test(said))
  const health = async () => {
    const reply = await fetch(/health on (\S+)/.exec(said)?.[1] ?? '')
    return { http: reply.status, ...((await reply.json()) as object) }
  }
  const isWell = { http: 200, status: 'ok', redis: true, idleSources: [] }

  const add = async (source: string) => {
    const limits = source === 'blocks' ? { sourceTimeout: SOURCE_TIMEOUT } : {}
    const { job } = await queue.add({ key: source, source, args: { name: source }, ...limits })
    return job
  }
  const bad = ['exits', 'blocks', 'eats', 'throws']
  const jobs = await Promise.all([...bad, 'works'].map(add))
  await until(async () => (await queue.queue.getCompletedCount()) >= 4)
  t.match(await health(), isWell, 'while a source blocks')
  await until(async () => (await queue.queue.getCompletedCount()) === jobs.length)
  t.match(await health(), { ...isWell, active: 0 })

  for (const { id = '', data } of jobs) {
    const isBad = bad.includes(data.key)
    t.match(await queue.find(id), { attemptsMade: isBad ? 2 : 1 }, data.key)
    t.equal(String(await b.get(data.key)), `${data.key} works`)
  }
  worker.child.kill('SIGTERM')
  t.equal((await worker.done).status, 143)
  for (const key of bad) {
    t.ok(said.split('\n').some(line => line.includes(`/${key}: `) && /will be retried/.test(line)))
  }
})
