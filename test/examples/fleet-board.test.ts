/** The fleet board in a real browser. Skipped with a message if Chromium is not installed. */
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { chromium } from 'playwright-core'
import t from 'tap'
import { UploadQueue, UploadWorker, type JobSource } from '../../src/bullmq/index.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import { start, until } from '../support/command-line.js'
import { EXAMPLES } from '../support/example.js'
import { bench, bytes, streamOf } from '../support/oss.js'
import { startRedis } from '../support/redis.js'
import { pathOf } from '../support/project.js'

const CHROMIUM = '/usr/bin/chromium'
const MIB = 2 ** 20
const EXAMPLE = `${EXAMPLES}fleet-board.mjs`
/** Set `SCREENSHOT=1` to create it again. */
const PICTURE = pathOf('docs/fleet-board.png')

type TestSources = {
  /** Yields `mib` MiB, but waits for the test after the first `until` of them. */
  readonly table: JobSource<{ mib: number; until?: number }>
  readonly broken: JobSource<undefined>
}

t.test('the fleet board shows jobs, their progress and a failure', async t => {
  if (!existsSync(CHROMIUM)) {
    t.pass('Chromium is not installed: apt-get install chromium', { skip: true })
    return
  }
  const server = await startRedis(t)
  if (server === undefined) return
  const b = await bench(t, { spool: { partSize: MIB } })
  const redis = server.connect(t)
  const checkpoints = redisCheckpoints(redis, { host: 'worker-1' })
  const content = bytes(8 * MIB)
  let release = (): void => {}
  const held = new Promise<void>(resolve => {
    release = resolve
  })
  const sources: TestSources = {
    table: async function* ({ mib, until: stop = mib }) {
      yield* streamOf(content.subarray(0, stop * MIB), MIB)
      if (stop < mib) await held
      yield* streamOf(content.subarray(stop * MIB, mib * MIB), MIB)
    },
    broken: () => Promise.reject(new TypeError('relation "invoices" does not exist')),
  }
  const queue = new UploadQueue<TestSources>({ connection: redis })
  const add = (name: string, mib: number, stop: number) =>
    queue.add({
      key: `exports/${name}.csv.gz`,
      source: 'table',
      args: { mib, until: stop },
    })
  const spool = b.another({ checkpointStore: checkpoints })
  const worker = new UploadWorker({
    connection: redis,
    spool,
    checkpointStore: checkpoints,
    sources,
  })
  t.teardown(async () => {
    release()
    await worker.close()
    checkpoints.close()
    await queue.close()
  })
  await add('products', 2, 2)
  await queue.add({ key: 'exports/invoices.csv.gz', source: 'broken' })
  await until(async () => (await queue.queue.getCompletedCount()) === 1)
  await until(async () => (await queue.queue.getFailedCount()) === 1)
  const orders = { operation: 'UploadPart', key: 'exports/orders.csv.gz' } as const
  b.oss.inject({ ...orders, partNumber: [6, 7, 8], do: 'hang', times: 'always' })
  await add('customers', 8, 3)
  await until(async () => (await queue.queue.getActiveCount()) === 1)
  await add('orders', 8, 8)

  const env = { REDIS_URL: `redis://127.0.0.1:${server.port}`, PORT: '0' }
  const page = start(t.testdirName, [], undefined, env, EXAMPLE)
  t.teardown(() => page.child.kill())
  const [line] = await once(page.child.stdout ?? page.child, 'data')
  const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
  t.teardown(() => browser.close())
  const tab = await browser.newPage({
    viewport: { width: 1000, height: 1600 },
    deviceScaleFactor: 0.75,
  })
  await tab.goto(`${String(line).trim()}queue/oss-spool`)
  // The page polls every few seconds, and the worker reports its progress every second.
  await tab.getByText('"5.0 MiB of 8.0 MiB"').waitFor()
  await tab.getByText('"3.0 MiB of 3.0 MiB so far"').waitFor()
  await tab.getByText('Error', { exact: true }).last().click() // of the oldest job on the page
  await tab.getByText('relation "invoices" does not exist').first().waitFor()
  const text = await tab.innerText('main')
  for (const name of ['orders', 'customers', 'invoices', 'products']) {
    t.match(text, `exports/${name}.csv.gz`)
  }
  for (const shown of ['"worker-1"', '"5 of 8"', '"3 of ?"', '62%', '100%']) {
    t.match(text, shown)
  }
  if (process.env['SCREENSHOT'] !== undefined) {
    // Clip above the stack trace, which contains this directory.
    await tab.screenshot({ path: PICTURE, clip: { x: 0, y: 0, width: 1000, height: 1532 } })
  }
  t.ok(readFileSync(EXAMPLE, 'utf8').split('\n').length <= 61, 'the example has at most 60 lines')
})
