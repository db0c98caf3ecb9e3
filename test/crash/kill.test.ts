/** Kill matrix: SIGKILL at every request and at every disk operation, then recovery by a new process. */
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import type { OperationName } from '../../src/emulator/operations/operation-name.js'
import type { FaultPoint } from '../../src/emulator/index.js'
import { bench } from '../support/oss.js'
import { KillBatch, type Kill } from './kill-batch.js'
import { setLongTimeout } from './long-timeout.js'
import { sampled } from '../support/long.js'
import { countOperations, SCENARIOS, type Scenario } from './scenario.js'

setLongTimeout(t)

/** Requests of a scenario, in order. */
type Requests = readonly (OperationName | readonly ['UploadPart', number])[]

const PARTS = [1, 2, 3, 4, 5].map(number => ['UploadPart', number] as const)

const REQUESTS: readonly (readonly [Scenario, Requests])[] = [
  [SCENARIOS.small, ['PutObject']],
  [SCENARIOS.published, ['PutObject']],
  [SCENARIOS.slow, ['InitiateMultipartUpload', 'PutObject', 'AbortMultipartUpload']],
  [SCENARIOS.parts, ['InitiateMultipartUpload', ...PARTS, 'CompleteMultipartUpload']],
  [SCENARIOS.spooling, ['InitiateMultipartUpload', ['UploadPart', 1], ['UploadPart', 4]]],
  [SCENARIOS.resume, ['ListParts', ['UploadPart', 3], 'CompleteMultipartUpload']],
  [SCENARIOS.unanswered, ['HeadObject', 'ListParts', 'CompleteMultipartUpload']],
  [SCENARIOS.answered, ['HeadObject']],
  [
    SCENARIOS.supersede,
    [
      'ListParts',
      'InitiateMultipartUpload',
      ['UploadPart', 1],
      ['UploadPart', 5],
      'CompleteMultipartUpload',
      'AbortMultipartUpload',
    ],
  ],
  [SCENARIOS.successor, ['ListParts', 'InitiateMultipartUpload', ['UploadPart', 2]]],
  [SCENARIOS.offset, ['ListParts', ['UploadPart', 4], 'CompleteMultipartUpload']],
  [SCENARIOS.once, ['InitiateMultipartUpload', ['UploadPart', 2], 'CompleteMultipartUpload']],
  [SCENARIOS.bounded, [['UploadPart', 4], 'CompleteMultipartUpload']],
  [SCENARIOS.rest, ['ListParts', 'CompleteMultipartUpload']],
  [SCENARIOS.onwards, ['ListParts', ['UploadPart', 5]]],
  [SCENARIOS.commits, ['InitiateMultipartUpload', ...PARTS, 'CompleteMultipartUpload']],
  [SCENARIOS.commitsWithoutEnd, ['InitiateMultipartUpload', ['UploadPart', 1], ['UploadPart', 4]]],
  [SCENARIOS.commitsBounded, [['UploadPart', 1], ['UploadPart', 4], 'CompleteMultipartUpload']],
  [SCENARIOS.commitsSupersede, ['ListParts', ['UploadPart', 2], 'AbortMultipartUpload']],
  [SCENARIOS.supersedeCommitted, [['UploadPart', 2], 'CompleteMultipartUpload']],
  [SCENARIOS.replaceCommitted, [['UploadPart', 2], 'CompleteMultipartUpload']],
]

const WITH_BODY: readonly OperationName[] = ['PutObject', 'UploadPart', 'CompleteMultipartUpload']

function momentsOf(operation: OperationName): readonly Exclude<FaultPoint, 'reply'>[] {
  return WITH_BODY.includes(operation) ? ['start', 'body', 'received', 'done'] : ['start', 'done']
}

t.test('an upload killed at any point of any request is recovered by another process', async t => {
  const b = await bench(t)
  const batch = new KillBatch(t, b)
  await batch.run(sampled(t, atRequests()))
  t.comment(JSON.stringify(batch.tally))
  t.equal(batch.tally.ended, 0, 'every fault point was reached')

  function* atRequests(): Generator<Kill> {
    for (const [scenario, requests] of REQUESTS) {
      for (const request of requests) {
        const [operation, partNumber] = typeof request === 'string' ? [request, undefined] : request
        for (const at of momentsOf(operation)) {
          yield {
            scenario,
            where: `${operation} ${partNumber ?? ''} ${at}`,
            kill: async fixture => {
              const part = partNumber === undefined ? {} : { partNumber }
              const match = { operation, key: fixture.key, ...part }
              const fault = b.oss.inject({ ...match, do: 'hang', at })
              const child = fixture.startWorker(scenario.job)
              // If the fault is never hit, an endless source would wait forever.
              const why = await Promise.race([
                fault.hit(),
                child.ended.then(() => 'the worker has ended'),
                sleep(120_000, 'not in 120 s', { ref: false }),
              ])
              const outcome = await child.kill()
              fault.remove()
              if (fault.hits > 0) return outcome
              throw new Error(`the fault was never hit: ${String(why)}`, { cause: outcome })
            },
          }
        }
      }
    }
  }
})

/** Samples few scenarios, since the operations of each are counted before. */
const SCENARIOS_ONE_IN = 7
const KILLS_ONE_IN = 36
const KILLS_ONE_IN_LONG = 12

/** Kills at each disk operation, or at every other one where operations are much alike. */
const STEPS: readonly (readonly [Scenario, readonly ('before' | 'after')[]])[] = [
  [SCENARIOS.small, ['before', 'after']],
  [SCENARIOS.parts, ['before', 'after']],
  [SCENARIOS.resume, ['before']],
  [SCENARIOS.answered, ['before']],
  [SCENARIOS.supersede, ['before']],
  [SCENARIOS.offset, ['before']],
  [SCENARIOS.once, ['before']],
  [SCENARIOS.bounded, ['before']],
  [SCENARIOS.commits, ['before', 'after']],
  [SCENARIOS.commitsBounded, ['before', 'after']],
  [SCENARIOS.commitsSupersede, ['before']],
  [SCENARIOS.commitsSupersedeFreed, ['before']],
  [SCENARIOS.supersedeCommitted, ['before', 'after']],
  [SCENARIOS.replaceCommitted, ['before']],
]

t.test('an upload killed at any disk operation is recovered by another process', async t => {
  const b = await bench(t)
  const batch = new KillBatch(t, b)
  const kills: Kill[] = []
  for (const [scenario, whens] of sampled(t, STEPS, SCENARIOS_ONE_IN)) {
    const operations = await countOperations(b, scenario)
    t.ok(operations > 5, `${scenario.name}: has ${operations} disk operations`)
    for (let at = 1; at <= operations; at++) {
      if (whens.length === 1 && at % 2 === 1) continue
      for (const when of whens) {
        kills.push({
          scenario,
          where: `${when} disk operation ${at}`,
          kill: fixture =>
            fixture.startWorker(scenario.job, { root: fixture.dir, at, do: 'kill', when }).ended,
        })
      }
    }
  }
  await batch.run(sampled(t, kills, KILLS_ONE_IN, KILLS_ONE_IN_LONG))
  t.comment(JSON.stringify(batch.tally))
  t.ok(batch.tally.kills > (batch.tally.ended - 1) * 10, 'nearly all workers were killed')
})
