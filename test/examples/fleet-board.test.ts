/** The page of a fleet's jobs in a real browser; skipped, and said, where there is none. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import t from 'tap'
import { UploadQueue, UploadWorker, type JobSource } from '../../src/bullmq/index.js'
import { redisCheckpoints } from '../../src/redis/index.js'
import { start, until } from '../support/command-line.js'
import { EXAMPLES } from '../support/example.js'
import { bench, bytes, streamOf } from '../support/oss.js'
import { startRedis } from '../support/redis.js'

const CHROMIUM = '/usr/bin/chromium'
const MIB = 2 ** 20
const EXAMPLE = `${EXAMPLES}fleet-board.mjs`
/** `SCREENSHOT=1` makes the picture of the page anew. */
const PICTURE = fileURLToPath(new URL('../../docs/fleet-board.png', import.meta.url))

type TestSources = {
  /** Stops half-way until the test lets it go on. */
  readonly table: JobSource<{ name: string; rows: number }>
  readonly broken: JobSource<undefined>
}

t.test('jobs, progress and a failure are visible', async t => {
  if (!existsSync(CHROMIUM)) {
    t.pass('Chromium is not installed: apt-get install chromium', { skip: true })
    return
  }
  const server = await startRedis(t)
  if (server === undefined) return
  const b = await bench(t, { spool: { partSize: MIB } })
  const redis = server.connect(t)
  const checkpoints = redisCheckpoints(redis, { host: 'worker-1' })
  const spool = b.another({ checkpoints })
  const content = bytes(48 * MIB)
  let letGo = (): void => {}
  const held = new Promise<void>(resolve => (letGo = resolve))
  const sources: TestSources = {
    table: async function* ({ name, rows }) {
      const half = Math.floor((rows * MIB * (name === 'customers' ? 0.6 : 0.4)) / 2)
      if (name !== 'products') {
        yield* streamOf(content.subarray(0, half), MIB)
        await held
      }
      yield* streamOf(content.subarray(0, rows * MIB), MIB)
    },
    broken: () => Promise.reject(new Error('relation "invoices" does not exist')),
  }
  const queue = new UploadQueue<TestSources>({ connection: redis, jobs: { attempts: 1 } })
  const add = (name: string, rows: number) =>
    queue.add({ key: `exports/${name}.csv.gz`, source: 'table', args: { name, rows } })
  await add('products', 12)
  await queue.add({ key: 'exports/invoices.csv.gz', source: 'broken' })
  const worker = new UploadWorker({
    connection: redis,
    spool,
    checkpoints,
    sources,
    concurrency: 2,
  })
  t.teardown(async () => {
    letGo()
    await worker.close()
    checkpoints.close()
    await queue.close()
  })
  await until(async () => (await queue.queue.getCompletedCount()) === 1)
  await until(async () => (await queue.queue.getFailedCount()) === 1)
  for (const [name, rows] of [
    ['orders', 40],
    ['customers', 24],
    ['returns', 8],
  ] as const) {
    await add(name, rows)
  }

  const page = start(
    t.testdirName,
    [],
    undefined,
    {
      REDIS_URL: `redis://127.0.0.1:${server.port}`,
      PORT: '0',
    },
    EXAMPLE,
  )
  t.teardown(() => page.child.kill())
  const url = await new Promise<string>(resolve =>
    page.child.stdout?.once('data', (line: Buffer) => resolve(String(line).trim())),
  )
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage'],
  })
  t.teardown(() => browser.close())
  const tab = await browser.newPage({ viewport: { width: 1100, height: 820 } })
  const show = async (status: string): Promise<string> => {
    await tab.goto(`${url}queue/oss-spool?status=${status}`)
    await tab.getByText('exports/').first().waitFor()
    return tab.innerText('main')
  }
  const failed = await show('failed')
  t.match(failed, 'exports/invoices.csv.gz')
  t.match(failed, 'relation "invoices" does not exist')
  t.match(await show('completed'), 'exports/products.csv.gz')
  const active = await show('active')
  t.match(active, 'exports/orders.csv.gz')
  console.error(active)
  await tab.screenshot({ path: '/tmp/hB-scratch/board.png' })
  t.ok(readFileSync(EXAMPLE, 'utf8').split('\n').length <= 61, 'sixty lines at most')
})
