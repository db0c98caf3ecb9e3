/**
 * Fuzz tests of the parsers. For any text or bytes, a parser returns a valid value or throws a documented error
 * without blocking, without leaking a secret, and without polluting prototypes.
 */
import * as fc from 'fast-check'
import { writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import { checkJobData } from '../../src/bullmq/job-data.js'
import { readConfigFile } from '../../src/cli/config-file.js'
import { UsageError } from '../../src/cli/exit-status.js'
import { readOssutilConfig } from '../../src/cli/ossutil-config.js'
import { parseCount, parseDuration, parseRate, parseSize } from '../../src/cli/units.js'
import { parseBucketTarget, parseTarget } from '../../src/cli/target.js'
import { escapeControlChars } from '../../src/util/control-chars.js'
import {
  CheckpointDamagedError,
  decodeCheckpoint,
  digestOf,
  encodeCheckpoint,
  LaterFormatError,
} from '../../src/disk/checkpoint.js'
import { SpoolDirectory } from '../../src/disk/spool-directory.js'
import { OssError } from '../../src/emulator/oss-error.js'
import { parseXml } from '../../src/emulator/operations/xml-body.js'
import { SpoolError } from '../../src/errors.js'
import { proxyFor } from '../../src/oss/proxy.js'
import { isServiceEndpoint, readClient } from '../../src/oss/client-options.js'
import { parseLockHolder } from '../../src/redis/redis-lock.js'
import { checkId, checkKey, defaultId } from '../../src/upload/model/names.js'
import { checkOptions } from '../../src/upload/model/options.js'
import { partsOf } from '../../src/upload/model/plan.js'
import { statusOf } from '../../src/upload/maintenance/status.js'
import { Spool } from '../../src/index.js'
import { useProxies } from '../support/no-proxy.js'
import { checkpointOf, completing, PLACE, published, sealed, spooling } from '../support/records.js'
import { holds, randomOf } from '../support/seed.js'
import { assertUnpolluted, fuzz, mutate, oneOf, runs } from './fuzz.js'

const SECRET = 'hunter2-do-not-show'

/** Arbitrary strings of many kinds, such as keys, paths and URLs. */
const texts = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ unit: 'grapheme-composite', maxLength: 400 }),
  fc
    .array(
      fc.constantFrom('..', '.', '/', '\\', '%2e', 'a', '\0', '\n', ':', '@', '?', '#', ' ', '💥'),
    )
    .map(parts => parts.join('')),
  fc.constantFrom('__proto__', 'constructor', 'toString', 'CON', 'nul.txt', 'quarantine'),
  fc.webUrl({ withQueryParameters: true, withFragments: true }),
)

const values = fc.anything({
  withBigInt: true,
  withNullPrototype: true,
  withSparseArray: true,
  withDate: true,
  withMap: true,
})

/** Returns true if `run` returns, false if it throws a documented error. Rethrows any other error. */
function returns(
  run: () => unknown,
  isDocumented: (error: Error & { code?: string }) => boolean,
): boolean {
  try {
    run()
    return true
  } catch (error) {
    if (error instanceof Error && isDocumented(error) && !error.message.includes(SECRET))
      return false
    throw error
  } finally {
    assertUnpolluted()
  }
}

const isWrongArgument = (error: Error & { code?: string }): boolean =>
  (error instanceof TypeError || error instanceof RangeError) &&
  /^ERR_(INVALID_ARG|OUT_OF_RANGE)/.test(error.code ?? '')
const isInvalidKey = (error: Error & { code?: string }): boolean =>
  error instanceof SpoolError && error.code === 'ERR_SPOOL_INVALID_KEY'
const isUsage = (error: Error & { code?: string }): boolean =>
  error instanceof UsageError || isInvalidKey(error)

t.test('checkKey accepts only keys that survive URL parsing and give a safe id', async t => {
  await holds(
    t,
    fc.property(texts, key => {
      if (!returns(() => checkKey(key), isInvalidKey)) return
      const path = encodeURIComponent(key).replaceAll('%2F', '/')
      if (new URL(`http://h/${path}`).pathname !== `/${path}`)
        throw new Error('URL parsing changes the key')
      checkId(defaultId(PLACE, key))
      if (/\p{Cc}/u.test(escapeControlChars(key)))
        throw new Error('the escaped key contains control characters')
    }),
    runs(400),
  )
})

t.test('checkId accepts only ids whose directory is inside the spool directory', async t => {
  const spool = new SpoolDirectory('/spool')
  await holds(
    t,
    fc.property(texts, id => {
      if (
        returns(() => checkId(id), isWrongArgument) &&
        dirname(spool.directoryOf(id)) !== '/spool'
      ) {
        throw new Error(spool.directoryOf(id))
      }
    }),
    runs(400),
  )
})

t.test(
  'checkOptions accepts only options that survive a checkpoint, and throws Node’s argument errors',
  async t => {
    const names = [
      'id',
      'partSize',
      'parallel',
      'size',
      'expect',
      'start',
      'maxSpoolBytes',
      'replay',
      'maxAge',
    ]
    names.push(
      'inPlace',
      'once',
      'retry',
      'timeout',
      'headers',
      'meta',
      'mime',
      'storageClass',
      'acl',
      'tags',
    )
    names.push('overwrite', 'callback', 'signal', 'progress')
    const strings = fc.dictionary(
      fc.oneof(texts, fc.constant('x-a'), fc.constant('__proto__')),
      texts,
    )
    const likely = fc.oneof(values, strings, texts, fc.integer(), fc.constant(102_400))
    await holds(
      t,
      fc.property(fc.dictionary(fc.constantFrom(...names), likely, { maxKeys: 3 }), options => {
        if (!returns(() => checkOptions(options), isWrongArgument)) return
        const { object } = checkOptions(options)
        const text = encodeCheckpoint(checkpointOf(spooling(object)))
        if (encoded(encoded(text)) !== encoded(text))
          throw new Error('the options change when the checkpoint is read back')
      }),
      runs(600),
    )
    for (const wrong of [new Date(0), new Map([['a', 'b']]), new Headers({ a: 'b' })]) {
      for (const name of ['headers', 'meta', 'tags', 'callback']) {
        const isAccepted = returns(() => checkOptions({ [name]: wrong }), isWrongArgument)
        t.notOk(
          isAccepted,
          `${name} as a ${wrong.constructor.name}, whose entries would be lost, is refused`,
        )
      }
    }
    for (const value of [null, 5, 'a', Symbol('a'), () => {}, []]) {
      // JavaScript callers can pass values that the types forbid.
      returns(() => checkOptions(value as never), isWrongArgument)
    }
  },
)

t.test(
  'readClient accepts client options or throws a documented error without secrets',
  async t => {
    const random = randomOf(t)
    const good = { accessKeyId: 'id', accessKeySecret: SECRET, region: 'oss-cn-hangzhou' }
    const fields = [
      ...Object.keys(good),
      'endpoint',
      'stsToken',
      'credentials',
      'ca',
      'agent',
      'secure',
      'bucket',
    ]
    await holds(
      t,
      fc.property(
        fc.dictionary(fc.constantFrom(...fields), fc.oneof(values, texts), { maxKeys: 2 }),
        change => {
          const client = { ...good, ...change }
          returns(() => readClient(client), isWrongArgument)
        },
      ),
      runs(400),
    )
    await fuzz(t, 400, () => {
      const endpoint = mutate(random, Buffer.from(`https://user:${SECRET}@host:443/`)).toString()
      if (endpoint.indexOf('@') < endpoint.indexOf(SECRET)) return // not in the userinfo: unrecognisable
      returns(() => readClient({ ...good, endpoint }), isWrongArgument)
    })
  },
)

t.test('errors do not quote a secret that was passed in the wrong place', async t => {
  const wrong = [
    { credentials: { accessKeyId: 'id', accessKeySecret: SECRET } },
    { endpoint: `https://user:${SECRET}@host:99999` },
    { endpoint: `user:${SECRET}@` },
    { ca: { key: SECRET } },
    { agent: undefined, credentials: [SECRET] },
  ]
  for (const each of wrong) {
    const client = {
      accessKeyId: 'id',
      accessKeySecret: SECRET,
      region: 'oss-cn-hangzhou',
      ...each,
    }
    t.notOk(
      returns(() => new Spool({ client: client as never }), isWrongArgument),
      Object.keys(each).join(),
    )
  }
  for (const target of [
    `oss://id:${SECRET}@bucket/key`,
    `id:${SECRET}@bucket`,
    `oss://id:${SECRET}@/k`,
  ]) {
    t.notOk(
      returns(() => parseTarget(target), isUsage),
      'the target is refused',
    )
  }
})

t.test(
  'command line parsers return valid targets and safe integers or throw usage errors',
  async t => {
    const likely = fc.oneof(
      texts,
      texts.map(text => `oss://${text}`),
      texts.map(text => `oss://bucket/${text}`),
    )
    await holds(
      t,
      fc.property(likely, text => {
        if (returns(() => parseTarget(text), isUsage)) checkKey(parseTarget(text).key)
        returns(() => parseBucketTarget(text), isUsage)
      }),
      runs(400),
    )
    const digits = fc.tuple(
      fc.stringMatching(/^[0-9.]{0,400}$/),
      fc.constantFrom('', 'k', 'MiB', 'TB', 'd', 'w', ' X'),
    )
    await holds(
      t,
      fc.property(
        fc.oneof(
          texts,
          digits.map(parts => parts.join('')),
        ),
        text => {
          for (const parse of [parseSize, parseRate, parseDuration, parseCount]) {
            const isNumber = returns(
              () => {
                if (!Number.isSafeInteger(parse(text))) throw new Error(`${text}: ${parse(text)}`)
              },
              error => error.code === 'commander.invalidArgument',
            )
            if (isNumber) continue
          }
        },
      ),
      runs(400),
    )
  },
)

t.test('proxyFor never includes the password in the name of the proxy', async t => {
  useProxies()
  const random = randomOf(t)
  const isProxyError = (error: Error): boolean => error.name === 'ProxyDenied'
  t.teardown(() => delete process.env['HTTPS_PROXY'])
  await fuzz(t, 400, () => {
    const proxy = mutate(
      random,
      Buffer.from(`http://user:${SECRET}@proxy.example:3128/`),
    ).toString()
    process.env['HTTPS_PROXY'] = proxy.replaceAll('\0', '')
    returns(() => {
      const found = proxyFor('https://oss-cn-hangzhou.aliyuncs.com/')
      const isSecret =
        found !== undefined &&
        found.name.includes(SECRET) &&
        proxy.lastIndexOf('@') > proxy.indexOf(SECRET)
      if (isSecret) throw new Error('the password is in the name of the proxy')
    }, isProxyError)
  })
})

t.test('readers of oss-spool and ossutil configuration files throw only usage errors', async t => {
  const random = randomOf(t)
  const directory = t.testdir({})
  const path = join(directory, 'config')
  const ours = JSON.stringify({
    $schema: 'x',
    endpoint: 'https://h',
    accessKeyId: 'id',
    accessKeySecret: SECRET,
    partSize: '8MiB',
    parallel: 5,
    internal: true,
  })
  const theirs = `[Credentials]\nendpoint = https://h\naccessKeyID = id\naccessKeySecret = ${SECRET}\nstsToken =\n[Bucket-Endpoint]\na=b\n`
  await fuzz(t, 300, () => {
    writeFileSync(path, mutate(random, Buffer.from(ours)), { mode: 0o600 })
    returns(() => readConfigFile(path, true), isUsage)
    writeFileSync(path, mutate(random, Buffer.from(theirs)), { mode: 0o600 })
    returns(() => readOssutilConfig(path), isUsage)
  })
})

/**
 * Maximum number of parts of an upload whose record is accepted. Its size is at most 10,000 parts of the
 * largest size; the smaller parts at the beginning of the plan come on top.
 */
const MAX_PARTS = 16_000

t.test('decodeCheckpoint refuses invalid checkpoints', async t => {
  const all = [
    checkpointOf({
      ...spooling({ meta: { a: 'b' }, tags: { c: 'd' } }),
      freed: [[1, 2]],
      met: { md5: 'x' },
    }),
    { ...checkpointOf(completing('U1')), previous: sealed({}, 'U2'), superseded: ['U3'] },
    checkpointOf(published()),
  ]
  const isRefusal = (error: Error): boolean =>
    error instanceof CheckpointDamagedError || error instanceof LaterFormatError

  t.test('refuses changed bytes or reads the original checkpoint', async t => {
    const random = randomOf(t)
    await fuzz(t, 600, () => {
      const text = encodeCheckpoint(oneOf(random, all))
      const mutant = mutate(random, Buffer.from(text)).toString()
      returns(() => {
        if (encoded(mutant) !== encoded(text))
          throw new Error(`a different checkpoint is read from ${mutant}`)
      }, isRefusal)
    })
  })

  t.test(
    'refuses changed JSON with a valid digest, or returns a checkpoint with a status and a plan',
    async t => {
      const mutants = fc.tuple(
        fc.constantFrom(...all),
        fc.nat(),
        fc.oneof(fc.jsonValue(), fc.maxSafeInteger(), texts),
      )
      const accepted = { count: 0 }
      await holds(
        t,
        fc.property(mutants, ([original, where, value]) => {
          const body = changedAt(structuredClone(original), where, value)
          const text = enveloped(JSON.stringify(body))
          if (!returns(() => decodeCheckpoint(text), isRefusal)) return
          const checkpoint = decodeCheckpoint(text)
          accepted.count++
          statusOf(checkpoint, undefined)
          encodeCheckpoint(checkpoint)
          const { upload } = checkpoint
          const parts = partsOf(upload.plan, 'size' in upload ? upload.size : upload.spooled)
          if (parts.length > MAX_PARTS) throw new Error(`${parts.length} parts`)
        }),
        runs(1500),
      )
      t.ok(accepted.count > 0, `${accepted.count} checkpoints were accepted`)
    },
  )

  t.test('reports JSON nested deeper than the stack as damage', async t => {
    for (const body of [
      '['.repeat(1e5) + ']'.repeat(1e5),
      '{"a":'.repeat(1e5) + '1' + '}'.repeat(1e5),
    ]) {
      t.throws(() => decodeCheckpoint(enveloped(body)), CheckpointDamagedError)
    }
  })

  t.test('reports an endless plan and too many parts as damage', async t => {
    const [, , done] = all
    for (const plan of [
      { base: 0, cap: 0 },
      { base: 1, cap: 1 },
      { base: 102_400, cap: 102_400 },
    ]) {
      const upload = { ...published(), plan: { version: 1, ...plan }, size: 2 ** 50 }
      t.throws(
        () => decodeCheckpoint(enveloped(JSON.stringify({ ...done, upload }))),
        CheckpointDamagedError,
      )
    }
  })

  t.test('accepts the largest size that parts can have, with a finite plan', async t => {
    const [, , done] = all
    const plan = { version: 1 as const, base: 102_400, cap: 5 * 2 ** 30 }
    const size = 10_000 * plan.cap
    const upload = { ...published(), plan, size }
    decodeCheckpoint(enveloped(JSON.stringify({ ...done, upload })))
    const parts = partsOf(plan, size).length
    t.ok(parts > 10_000 && parts <= MAX_PARTS, `${parts} parts`)
  })

  t.test('reports an invalid upload id as damage', async t => {
    const [, second] = all
    for (const id of ['', 'a\nb', 'a b', 'x'.repeat(2000)]) {
      const wrong = JSON.stringify({ ...second, superseded: [id] })
      t.throws(() => decodeCheckpoint(enveloped(wrong)), CheckpointDamagedError)
    }
  })
})

t.test('the emulator’s XML parser returns a tree or throws an OSS error', async t => {
  await t.rejects(
    parseXml('<a/><?pi', 'a'),
    { code: 'MalformedXML' },
    'an unterminated processing instruction',
  )
  const random = randomOf(t)
  const good = Buffer.from(
    '<?xml version="1.0"?><CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>"A&amp;"</ETag></Part></CompleteMultipartUpload>',
  )
  await fuzz(t, 600, async () => {
    try {
      const xml = await parseXml(mutate(random, good).toString(), 'CompleteMultipartUpload')
      for (const part of xml.children('Part')) part.text('PartNumber')
      xml.text('__proto__')
      xml.child('constructor')?.text('a')
    } catch (error) {
      if (!(error instanceof OssError)) throw error
    }
  })
})

t.test('changed data of jobs and values of locks in Redis are accepted or refused', async t => {
  const random = randomOf(t)
  const jobs = [
    '{"key":"a/b","source":"s","args":{"n":1},"upload":{"meta":{"a":"b"},"expect":{"bytes":5},"retry":{"attempts":2},"tags":{"t":"v"}}}',
    '{"key":"m","manifest":{"job":"j","keys":["a","b"]},"upload":{"mime":"application/json"}}',
  ].map(text => Buffer.from(text))
  const lock = Buffer.from('12 {"pid":5,"host":"a","directory":"/d","since":"","nonce":""}')
  await fuzz(t, 400, () => {
    let data: unknown
    try {
      data = JSON.parse(mutate(random, oneOf(random, jobs)).toString())
    } catch {
      return // BullMQ refuses it
    }
    const isRefused = (error: Error): boolean =>
      isWrongArgument(error) ||
      (error instanceof SpoolError && error.code === 'ERR_SPOOL_INVALID_KEY')
    returns(() => checkJobData(data), isRefused)
    const holder = parseLockHolder(mutate(random, lock).toString())
    if (holder !== undefined && !Number.isSafeInteger(holder.pid)) throw new Error('no pid')
  })
})

t.test('an endpoint that changed is no other one of OSS', async t => {
  const random = randomOf(t)
  const good = Buffer.from('https://bucket.oss-cn-hangzhou.aliyuncs.com')
  await fuzz(t, 400, () => {
    const endpoint = mutate(random, good).toString()
    if (!isServiceEndpoint(endpoint)) return
    const { protocol, hostname } = new URL(endpoint)
    if (protocol !== 'https:' || !hostname.endsWith('.aliyuncs.com')) throw new Error(endpoint)
  })
})

/** Decodes a checkpoint and encodes it again. */
function encoded(text: string): string {
  return encodeCheckpoint(decodeCheckpoint(text))
}

function enveloped(body: string): string {
  return `{"format":1,"digest":"${digestOf(body)}","checkpoint":${body}}`
}

/** Replaces one of all inner values of `root`, chosen by its number, and returns `root`. */
function changedAt(root: object, where: number, value: unknown): object {
  const places: [Record<string, unknown>, string][] = []
  const visit = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return
    for (const [name, inner] of Object.entries(node)) {
      places.push([node as Record<string, unknown>, name]) // JSON consists of objects and arrays only
      visit(inner)
    }
  }
  visit(root)
  const [node, name] = places[where % places.length]!
  node[name] = value
  return root
}
