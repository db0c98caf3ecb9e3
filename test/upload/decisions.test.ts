/**
 * Decisions without I/O: retry delays, retries, ownership of an object, phase transitions, upload status,
 * progress and validation of options.
 */
import t, { type Test } from 'tap'
import type { Checkpoint } from '../../src/disk/checkpoint.js'
import { invalidType, outOfRange, SpoolError } from '../../src/errors.js'
import { OssRequestError, type OssRequestErrorDetails } from '../../src/oss/request-error.js'
import type { Bucket, ObjectInfo } from '../../src/oss/bucket.js'
import { checkId, checkKey, defaultDirectory, defaultId } from '../../src/upload/model/names.js'
import { checkOptions, type UploadOptions } from '../../src/upload/model/options.js'
import {
  adoptUploadId,
  filesOf,
  initiationDigest,
  markPublished,
  backToSealed,
  seal,
  dropPrevious,
  startSuccessor,
  replacePrevious,
  withUploadId,
} from '../../src/upload/model/phase.js'
import { ProgressTracker } from '../../src/upload/run/progress.js'
import type { ProgressEvent } from '../../src/upload/model/progress-event.js'
import { retryDelay, withRetry, type RetryPolicy } from '../../src/upload/model/retry.js'
import { classifyOutcome, reconcile } from '../../src/upload/transfer/publish-outcome.js'
import { statusOf } from '../../src/upload/maintenance/status.js'
import {
  AT,
  checkpointOf,
  completing,
  PLACE,
  published,
  sealed,
  spooling,
} from '../support/records.js'

const failure = (details: Partial<OssRequestErrorDetails> = {}): OssRequestError =>
  new OssRequestError({ name: 'ECONNRESET', message: 'm', operation: 'UploadPart', ...details })

t.test('retryDelay()', async t => {
  const retry = { attempts: 5, minDelay: 200, maxDelay: 20_000 }
  t.test('retryDelay() is between minDelay and a bound that doubles up to maxDelay', async t => {
    for (const [failures, bound] of [
      [1, 400],
      [2, 800],
      [6, 12_800],
      [7, 20_000],
      [10_000, 20_000],
    ] as const) {
      t.equal(
        retryDelay(retry, failures, () => 0),
        200,
      )
      t.equal(
        retryDelay(retry, failures, () => 1),
        bound,
      )
      t.equal(
        retryDelay(retry, failures, () => 0.5),
        200 + (bound - 200) / 2,
      )
    }
  })
  t.test(
    'retryDelay() grows even if minDelay is 0, so that unlimited retries do not spin',
    async t => {
      t.equal(
        retryDelay({ ...retry, minDelay: 0 }, 1, () => 1),
        2,
      )
      t.equal(
        retryDelay({ ...retry, minDelay: 0 }, 30, () => 1),
        20_000,
      )
    },
  )
  t.test('retryDelay() is constant if minDelay equals maxDelay', async t => {
    t.equal(
      retryDelay({ ...retry, maxDelay: 200 }, 9, () => 1),
      200,
    )
  })
})

t.test('withRetry()', async t => {
  /** Fails with each of `errors`, then succeeds. Resolves with the outcome and the number of calls. */
  const run = async (
    errors: readonly unknown[],
    more: Partial<RetryPolicy> = {},
  ): Promise<{ ended: unknown; tries: number; pauses: number; reported: number }> => {
    let [tries, pauses, reported] = [0, 0, 0]
    const ended = await withRetry(
      async () => {
        const error = errors[tries++]
        if (error !== undefined) throw error
        return 'done'
      },
      {
        retry: { attempts: 3, minDelay: 1, maxDelay: 1 },
        pause: async () => void pauses++,
        onFailure: () => void reported++,
        ...more,
      },
    ).catch((error: unknown) => error)
    return { ended, tries, pauses, reported }
  }
  const transient = failure()
  const denied = failure({ status: 403, ossCode: 'AccessDenied' })

  t.test('withRetry() resolves at the first success', async t => {
    t.same(await run([]), { ended: 'done', tries: 1, pauses: 0, reported: 0 })
    t.same(await run([transient, transient]), { ended: 'done', tries: 3, pauses: 2, reported: 2 })
  })
  t.test(
    'withRetry() rejects with the last failure after `attempts`, without a last pause',
    async t => {
      const last = failure({ status: 503 })
      const { ended, ...counts } = await run([transient, transient, last])
      t.equal(ended, last)
      t.same(counts, { tries: 3, pauses: 2, reported: 2 })
    },
  )
  t.test('withRetry() does not retry permanent failures', async t => {
    for (const details of [
      { status: 403 },
      { status: 404, ossCode: 'NoSuchUpload' },
      { status: 409, ossCode: 'FileAlreadyExists' },
      { status: 400, ossCode: 'InvalidPart' },
      { status: 400, ossCode: 'InvalidArgument' },
    ]) {
      const final = failure(details)
      t.match(await run([final]), { tries: 1, pauses: 0, ended: final })
    }
    t.match(await run([failure({ name: 'AbortError' })], { isUnlimited: () => true }), { tries: 1 })
  })
  t.test(
    'withRetry() retries without limit while the source flows, then counts attempts',
    async t => {
      const many = Array.from({ length: 50 }, () => transient)
      t.match(await run([...many, denied], { isUnlimited: () => true }), {
        ended: 'done',
        tries: 52,
      })
      let asked = 0
      const flowing = { isUnlimited: () => ++asked <= 10 }
      t.match(await run(many, flowing), { ended: transient, tries: 13, pauses: 12 })
    },
  )
  t.test('withRetry() does not retry the fatal kinds of the caller', async t => {
    const gone = failure({ status: 404, ossCode: 'NoSuchUpload' })
    const final = { fatalKinds: ['no-upload'] as const, isUnlimited: () => true }
    t.match(await run([gone], final), { ended: gone, tries: 1 })
  })
  t.test('withRetry() does not retry after a bug or an aborted pause', async t => {
    const bug = new TypeError('bug')
    t.match(await run([bug], { isUnlimited: () => true }), { ended: bug, tries: 1 })
    const stopped = new Error('stopped')
    const pause = (): Promise<void> => Promise.reject(stopped)
    t.match(await run([transient], { pause }), { ended: stopped, tries: 1 })
  })
})

t.test('the outcome of a publishing request is classified correctly', async t => {
  const record = completing('U')
  const second = Math.floor(AT / 1000) * 1000
  const ours: ObjectInfo = {
    size: record.size,
    etag: '"E"',
    crc64: 123n,
    token: record.token,
    lastModified: second,
    requestId: 'R',
  }
  const { crc64: _crc, ...withoutCrc } = ours
  const { token: _token, ...foreign } = ours
  const table: [
    name: string,
    object: ObjectInfo | undefined,
    uploadIdExists: boolean,
    outcome: string,
  ][] = [
    ['our object', ours, false, 'ours'],
    ['our object, upload id still listed', ours, true, 'ours'],
    ['our object with an old Last-Modified', { ...ours, lastModified: 0 }, false, 'ours'],
    ['no object, upload id exists', undefined, true, 'pending'],
    ['no object, no upload id', undefined, false, 'absent'],
    ["someone else's object, upload id exists", foreign, true, 'pending'],
    ["someone else's object of the same second", foreign, false, 'foreign'],
    ["someone else's newer object", { ...foreign, lastModified: second + 1000 }, false, 'foreign'],
    ["someone else's older object", { ...foreign, lastModified: second - 1000 }, false, 'absent'],
    ['the same bytes with another token', { ...ours, token: 'other' }, false, 'foreign'],
    ['our token, other bytes', { ...ours, crc64: 124n }, false, 'wrong'],
    ['our token, another size', { ...ours, size: 1 }, false, 'wrong'],
    ['our token, no CRC64', withoutCrc, false, 'wrong'],
  ]
  for (const [name, object, uploadIdExists, outcome] of table) {
    t.equal(classifyOutcome(record, object, { uploadIdExists }), outcome, name)
  }

  t.test('reconcile() looks up the upload id only if the object is not ours', async t => {
    const asked: string[] = []
    const bucket = (object: ObjectInfo | undefined, parts: unknown): Bucket =>
      // Only the two calls that reconcile() may make.
      ({
        head: async () => (asked.push('head'), object),
        listParts: async () => {
          asked.push('listParts')
          if (parts instanceof Error) throw parts
          return parts === 'gone' ? undefined : parts
        },
      }) as unknown as Bucket
    const of = (object: ObjectInfo | undefined, parts: unknown, by = record): Promise<string> =>
      reconcile(by, bucket(object, parts), 'key', {}).then(({ outcome }) => outcome)
    t.equal(await of(ours, new Error('not asked')), 'ours')
    t.same(asked.splice(0), ['head'])
    t.equal(await of(undefined, new Map()), 'pending')
    t.same(asked.splice(0), ['head', 'listParts'])
    t.equal(await of(undefined, 'gone'), 'absent')
    t.same(
      asked.splice(0),
      ['head', 'listParts', 'head'],
      'without an upload id, the second HEAD is final',
    )
    t.equal(await of(undefined, new Error('not asked'), completing()), 'absent', 'a PutObject')
    for (const error of [failure(), failure({ status: 403 }), failure({ status: 404 })]) {
      await t.rejects(of(undefined, error), error, 'an unknown outcome is not guessed')
    }
  })
})

t.test('phases', async t => {
  t.test('startSpooling() creates a unique token', async t => {
    t.not(spooling().token, spooling().token)
    t.ok(spooling().token.length >= 8)
  })
  t.test('adoptUploadId() takes over an upload id only with its token', async t => {
    const record = spooling()
    t.match(adoptUploadId(record, { token: 'theirs', uploadId: 'U' }), {
      token: 'theirs',
      uploadId: 'U',
    })
    t.equal(adoptUploadId(record, { token: 'theirs' }), record)
  })
  t.test('seal() records size, CRC64 and parts, and drops an earlier error', async t => {
    const error = { code: 'X', message: 'm', at: new Date().toISOString() }
    const record = seal({ ...spooling(), error }, { size: 7, crc64: 2n ** 64n - 1n, crcs: ['1'] })
    t.match(record, { phase: 'sealed', size: 7, spooled: 7, crcs: ['1'] })
    t.equal(record.crc64, '18446744073709551615')
    t.notOk('error' in record)
  })
  t.test(
    'backToSealed() reverts startCompleting(), and markPublished() drops properties no longer needed',
    async t => {
      const record = sealed({}, 'U')
      const { updatedAt: _new, ...reopened } = backToSealed(completing('U'))
      const { updatedAt: _old, token: _token, createdAt: _c, sealedAt: _s, ...expected } = record
      t.match(reopened, expected)
      t.notOk('method' in reopened || 'completingAt' in reopened)
      t.equal(backToSealed(record), record)
      const object = { etag: '"E"', parts: 2, requestId: 'R' }
      const done = markPublished({ ...record, error: { code: 'X', message: 'm', at: 'x' } }, object)
      t.match(done, { phase: 'published', uploaded: record.size, ...object })
      t.notOk('uploadId' in done || 'error' in done)
    },
  )
  t.test('withUploadId() replaces or removes the upload id', async t => {
    t.equal(withUploadId(sealed({}, 'U'), 'V').uploadId, 'V')
    t.notOk('uploadId' in withUploadId(sealed({}, 'U'), undefined))
  })
  t.test('initiationDigest() does not depend on the order of properties', async t => {
    const digest = initiationDigest({ meta: { a: '1', b: '2' }, mime: 'text/csv' })
    t.equal(initiationDigest({ mime: 'text/csv', meta: { b: '2', a: '1' } }), digest)
    t.not(initiationDigest({ meta: { a: '1', b: '3' }, mime: 'text/csv' }), digest)
    t.not(initiationDigest({ meta: { a: '1', b: '2' }, mime: 'text/csv', acl: 'private' }), digest)
  })
})

t.test('successors and predecessors', async t => {
  const old = checkpointOf(sealed({}, 'OLD'))
  t.test('startSuccessor() keeps a sealed predecessor until replacePrevious()', async t => {
    const during = startSuccessor(old, spooling())
    t.equal(during.previous, old.upload)
    t.same(during.superseded, [])
    t.same(filesOf(during), ['spool-1-a', 'spool-1-a'])
    const after = replacePrevious(during, sealed({}, 'NEW'))
    t.notOk('previous' in after)
    t.same(after.superseded, ['OLD'], 'its upload id must be aborted')
  })
  t.test(
    'startSuccessor() supersedes an unsealed predecessor, but keeps the sealed one before it',
    async t => {
      const dead = startSuccessor(old, { ...spooling(), uploadId: 'DEAD' })
      const next = startSuccessor(dead, spooling())
      t.same(next.superseded, ['DEAD'])
      t.equal(next.previous, old.upload)
      t.same(
        startSuccessor(dead, { ...spooling(), uploadId: 'DEAD' }).superseded,
        [],
        'a reused upload id is not superseded',
      )
    },
  )
  t.test('an upload id shared by predecessor and successor is not superseded', async t => {
    const during = startSuccessor(old, { ...spooling(), uploadId: 'OLD' })
    t.same(
      startSuccessor(during, spooling()).superseded,
      [],
      'the sealed predecessor still needs it',
    )
    t.same(replacePrevious(during, sealed({}, 'OLD')).superseded, [])
    const settled = dropPrevious(during)
    t.notOk('uploadId' in settled.upload, 'an upload id completed with the predecessor is dropped')
    t.notOk('previous' in settled)
  })
  t.test('`superseded` contains no upload id twice and none that is in use again', async t => {
    const twice: Checkpoint = { ...old, superseded: ['OLD', 'X'] }
    t.same(replacePrevious(startSuccessor(twice, spooling()), sealed({}, 'X')).superseded, ['OLD'])
  })
  t.test('filesOf() returns no temp file for a published upload', async t => {
    t.same(filesOf(checkpointOf(published())), [])
  })
})

t.test('statusOf() shows the state of an upload', async t => {
  const owner = { pid: 1, host: 'h' }
  t.match(statusOf(checkpointOf(sealed({}, 'U')), owner), {
    id: 'id',
    phase: 'sealed',
    size: sealed().size,
    uploadId: 'U',
    owner,
  })
  const flowing = statusOf(checkpointOf(spooling()), undefined)
  t.equal(flowing?.phase, 'spooling')
  t.notOk(flowing !== undefined && ('size' in flowing || 'owner' in flowing || 'error' in flowing))
  t.equal(
    statusOf(checkpointOf(published()), undefined),
    undefined,
    'a published upload is not shown',
  )
  const receipt = { ...published(), once: true }
  t.equal(statusOf(checkpointOf(receipt), undefined)?.phase, 'receipt')
  const during = startSuccessor(checkpointOf(sealed()), spooling())
  t.equal(statusOf(during, owner)?.phase, 'spooling', 'the successor has an owner')
  t.equal(statusOf(during, undefined)?.phase, 'sealed', 'the successor has no owner')
})

t.test('ProgressTracker limits the rate of events without losing the last one', async t => {
  const events: ProgressEvent[] = []
  const progress = new ProgressTracker({
    isActive: () => true,
    emit: event => events.push(event),
  })
  for (let i = 1; i <= 1000; i++) progress.update({ spooled: i })
  progress.acknowledge(10)
  t.ok(events.length <= 2, `${events.length} events`)
  progress.update({ phase: 'sealed', size: 1000 })
  t.match(events.at(-1), { phase: 'sealed', spooled: 1000, uploaded: 10, parts: { done: 1 } })
  progress.acknowledge(10)
  const before = events.length
  progress.end()
  t.equal(events.length, before + 1)
  t.match(events.at(-1), { uploaded: 20, parts: { done: 2 } })
  progress.restart()
  t.match(progress.state, { uploaded: 0, parts: { done: 0 } })
  progress.end()
})

/** Asserts that `options` are rejected with Node's error for invalid arguments. */
function refused(t: Test, options: unknown, type: typeof TypeError, code: string): void {
  const name = JSON.stringify(options, (_key, value: unknown) =>
    typeof value === 'bigint' || typeof value === 'number' ? String(value) : value,
  )
  // The types forbid most of these; JavaScript does not.
  t.throws(() => checkOptions(options as UploadOptions), { constructor: type, code }, name)
}

t.test('checkOptions()', async t => {
  t.test('checkOptions() applies defaults', async t => {
    t.match(checkOptions({}), {
      partSize: 8 * 2 ** 20,
      parallel: 'auto',
      start: 'eager',
      replay: 'restart',
      once: false,
      expect: {},
      retry: { attempts: 5, minDelay: 200, maxDelay: 20_000 },
    })
    t.same(checkOptions({}).object, {})
  })
  t.test('checkOptions() omits undefined properties, which a checkpoint would lose', async t => {
    t.same(Object.keys(checkOptions({ mime: 'text/csv' }).object), ['mime'])
  })
  t.test('checkOptions() adjusts the default of one retry delay to the other', async t => {
    t.same(checkOptions({ retry: { maxDelay: 50 } }).retry, {
      attempts: 5,
      minDelay: 50,
      maxDelay: 50,
    })
    t.equal(checkOptions({ retry: { minDelay: 60_000 } }).retry.maxDelay, 60_000)
  })
  t.test('checkOptions() throws ERR_INVALID_ARG_TYPE for options of the wrong type', async t => {
    for (const options of [
      null,
      5,
      { id: 5 },
      { partSize: '8MiB' },
      { partSize: 8n },
      { parallel: null },
      { parallel: '5' },
      { size: '5' },
      { timeout: true },
      { maxAge: '1d' },
      { expect: null },
      { expect: 'abc' },
      { expect: { bytes: '5' } },
      { expect: { md5: 5 } },
      { expect: { sha256: Buffer.alloc(32) } },
      { expect: { crc64: 5n } },
      { once: 'yes' },
      { signal: {} },
      { progress: true },
      { retry: null },
      { retry: 3 },
      { retry: { attempts: '3' } },
      { headers: [['a', 'b']] },
      { headers: 'a: b' },
      { headers: { a: 5 } },
      { meta: null },
      { meta: { a: undefined } },
      { tags: { a: true } },
      { mime: ['text/csv'] },
      { overwrite: 'false' },
      { callback: null },
      { callback: 'http://x' },
      { callback: { url: 'http://x' } },
      { callback: { url: 5, body: '' } },
      { callback: { url: 'http://x', body: '', callbackSNI: 'true' } },
      { callback: { url: 'http://x', body: '', customValue: null } },
      { callback: { url: 'http://x', body: '', customValue: { a: null } } },
      { callback: { url: 'http://x', body: '', customValue: { a: Number.NaN } } },
    ]) {
      refused(t, options, TypeError, 'ERR_INVALID_ARG_TYPE')
    }
  })
  t.test('checkOptions() throws ERR_INVALID_ARG_VALUE for invalid values', async t => {
    for (const options of [
      { id: '' },
      { start: 'lazy' },
      { start: ['eager'] },
      { replay: '' },
      { expect: { md5: 'abc' } },
      { expect: { sha256: 'g'.repeat(64) } },
      { expect: { crc64: '-1' } },
      { expect: { sha1: 'a'.repeat(40) } },
      { storageClass: 'Cold' },
      { acl: 'public' },
      { mime: 'csv' },
      { mime: 'text/csv\r\nx: y' },
      { headers: { 'a b': 'c' } },
      { headers: { a: 'b\nc' } },
      { headers: { Authorization: 'x' } },
      { meta: { 'a b': 'c' } },
      { meta: { a: 'x'.repeat(8 * 1024) } },
      { tags: Object.fromEntries(Array.from({ length: 11 }, (_, i) => [`t${i}`, ''])) },
      { tags: { a: '\ud800' } },
      { callback: { url: 'http://x/\ud800', body: '' } },
      { callback: { url: 'http://x', body: '', unknown: true } },
    ]) {
      refused(t, options, TypeError, 'ERR_INVALID_ARG_VALUE')
    }
  })
  t.test('checkOptions() throws ERR_OUT_OF_RANGE for numbers outside their limits', async t => {
    for (const options of [
      { partSize: 102_399 },
      { partSize: 5 * 2 ** 30 + 1 },
      { partSize: 2e6 + 0.5 },
      { partSize: Number.NaN },
      { parallel: 0 },
      { parallel: 1001 },
      { size: -1 },
      { size: 1.5 },
      { size: 10_000 * 5 * 2 ** 30 + 1 },
      { timeout: 0 },
      { timeout: 2 ** 31 },
      { maxAge: -1 },
      { expect: { bytes: -1 } },
      { retry: { attempts: 0 } },
      { retry: { minDelay: -1 } },
      { retry: { maxDelay: 2 ** 31 } },
      { retry: { minDelay: 1000, maxDelay: 999 } },
    ]) {
      refused(t, options, RangeError, 'ERR_OUT_OF_RANGE')
    }
  })
  t.test('checkOptions() accepts numbers at their limits', async t => {
    for (const options of [
      { partSize: 102_400, parallel: 1, size: 0, timeout: 1, maxAge: 0 },
      { parallel: 'auto' as const },
      { partSize: 5 * 2 ** 30, parallel: 1000, size: 10_000 * 5 * 2 ** 30 },
      { retry: { attempts: 1, minDelay: 0, maxDelay: 0 } },
      { expect: { bytes: 0, md5: 'A'.repeat(32), sha256: 'f'.repeat(64), crc64: '0' } },
    ]) {
      t.ok(checkOptions(options))
    }
  })
})

t.test('checkId() accepts valid ids and rejects all others', async t => {
  for (const id of ['a', 'A.b_c-9', '_', '-', '0', 'a'.repeat(128), 'console', 'quarantine-2']) {
    t.doesNotThrow(() => checkId(id), id)
  }
  for (const id of [
    '',
    '.',
    '..',
    '.a',
    'a.',
    'a/b',
    'a\\b',
    '../a',
    'a b',
    'ä',
    'a\0',
    'a\n',
    'a'.repeat(129),
    'quarantine',
    'Quarantine',
    'con',
    'NUL',
    'com1',
    'LPT9.txt',
    'aux.csv.gz',
  ]) {
    t.throws(() => checkId(id), { constructor: TypeError, code: 'ERR_INVALID_ARG_VALUE' }, id)
  }
  for (const id of [5, null, ['a']]) t.throws(() => checkId(id), { code: 'ERR_INVALID_ARG_TYPE' })

  t.test('defaultId() returns valid, readable ids that differ between objects', async t => {
    const keys = [
      'a',
      'x/orders.csv.gz',
      '.hidden/..x',
      '日本.csv',
      '-',
      ' ',
      'con',
      'a'.repeat(900),
    ]
    for (const key of keys) t.doesNotThrow(() => checkId(defaultId(PLACE, key)), key)
    t.match(defaultId(PLACE, 'x/orders.csv'), /^orders-csv-[0-9a-f]{24}$/)
    t.equal(defaultId(PLACE, 'k'), defaultId({ ...PLACE }, 'k'))
    const ids = [
      defaultId(PLACE, 'x/k'),
      defaultId(PLACE, 'y/k'),
      defaultId({ ...PLACE, bucket: 'other' }, 'x/k'),
      defaultId({ ...PLACE, endpoint: 'http://other' }, 'x/k'),
    ]
    t.equal(new Set(ids).size, ids.length)
  })
})

t.test('checkKey() accepts valid keys and rejects all others', async t => {
  for (const key of [
    'a',
    'a/b//c/',
    'a b+c%?#&',
    '日本/😀',
    '...',
    'a/...b',
    'é'.repeat(511),
    'x\ty',
  ]) {
    t.doesNotThrow(() => checkKey(key), key.slice(0, 20))
  }
  for (const key of [
    '',
    'é'.repeat(512),
    'a'.repeat(1024),
    '/a',
    '\\a',
    '.',
    '..',
    './a',
    'a/./b',
    'a/../b',
    'a/..',
    'a\ud800',
    undefined,
    5,
    5n,
  ]) {
    t.throws(() => checkKey(key), { name: 'SpoolError', code: 'ERR_SPOOL_INVALID_KEY' })
  }
})

t.test(
  'defaultDirectory() prefers OSS_SPOOL_DIR over XDG_STATE_HOME over the home directory',
  async t => {
    t.equal(defaultDirectory({ OSS_SPOOL_DIR: '/a', XDG_STATE_HOME: '/b' }), '/a')
    t.equal(defaultDirectory({ XDG_STATE_HOME: '/b' }), '/b/oss-spool')
    t.match(defaultDirectory({}), /\.local.state.oss-spool$/)
  },
)

t.test('errors', async t => {
  t.test('a SpoolError has no properties for unknown details', async t => {
    const bare = new SpoolError('ERR_SPOOL_FULL', 'm')
    t.match(bare, { code: 'ERR_SPOOL_FULL', resumable: false, id: '' })
    t.notOk('part' in bare || 'cause' in bare || 'uploadId' in bare)
    const cause = failure()
    t.equal(new SpoolError('ERR_SPOOL_FULL', 'm', { cause }).cause, cause)
  })
  t.test('the hint of a SpoolError names the upload only if it is resumable', async t => {
    const of = (resumable: boolean): string =>
      new SpoolError('ERR_SPOOL_DENIED', 'm', { id: 'my-id', resumable }).hint
    t.match(of(true), 'my-id')
    t.notMatch(of(false), 'my-id')
  })
  t.test('invalidType() and outOfRange() accept arguments of every type', async t => {
    const values = [null, undefined, 5n, Symbol('s'), () => 1, Object.create(null), new Map(), 'x']
    for (const value of values) {
      t.match(invalidType('name', 'a thing', value), { code: 'ERR_INVALID_ARG_TYPE' })
      t.match(outOfRange('name', 'more', value), { code: 'ERR_OUT_OF_RANGE' })
    }
  })
})
