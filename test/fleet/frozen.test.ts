/** A worker that is frozen until another machine has its job, then resumed. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { contentOf } from '../crash/seeded-content.js'
import { until } from '../support/command-line.js'
import { Machines, PART } from './machines.js'
import { long } from '../support/long.js'

void long(t, 'a frozen worker that resumes while another one works is stopped', async t => {
  const fleet = await Machines.open(t)
  if (fleet === undefined) return
  const { bench, queue, spool } = fleet
  const made = { seed: 7, size: 8 * PART + 9 }
  const frozen = fleet.start('frozen', '--json')
  const { job } = await queue.add({ key: 'key', source: 'content', args: { ...made, pace: 250 } })
  await until(() => fleet.done('UploadPart').length >= 2)
  frozen.run.child.kill('SIGSTOP')
  const other = fleet.start('other', '--json')
  const ownerOf = async () => (await spool.uploads())[0]?.owner?.host
  await until(async () => (await ownerOf()) === 'other')
  const parts = fleet.done('UploadPart').length
  await until(() => fleet.done('UploadPart').length > parts)
  frozen.run.child.kill('SIGCONT')
  await until(async () => (await queue.queue.getCompletedCount()) === 1)
  t.match(await queue.find(job.id ?? ''), { returnvalue: { host: 'other', size: made.size } })
  await sleep(500) // time for any late action of the frozen worker
  t.same(await bench.get('key'), contentOf(made.seed, made.size))
  t.equal(fleet.done('CompleteMultipartUpload').length, 1)
  const sent = fleet.done('UploadPart').map(({ partNumber }) => partNumber)
  t.ok(sent.length <= 9 + 5, 'parts sent by the frozen worker are reused')
  for (const { run } of [frozen, other]) run.child.kill('SIGTERM')
  const [first, second] = await Promise.all([frozen.run.done, other.run.done])
  t.same([first.status, second.status], [143, 143], 'both workers shut down gracefully')
  t.equal(first.out, '', 'the frozen worker has finished nothing')
  t.match(JSON.parse(second.out), { key: 'key', size: made.size })
})
