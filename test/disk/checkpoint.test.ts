/**
 * The checkpoint on disk. Decoding never guesses. However the file was damaged, it returns the checkpoint
 * that was written or throws with the reason, but never returns another checkpoint.
 */
import t from 'tap'
import {
  CheckpointDamagedError,
  decodeCheckpoint,
  digestOf,
  encodeCheckpoint,
  FORMAT,
  LaterFormatError,
  type Checkpoint,
} from '../../src/disk/checkpoint.js'
import { startSuccessor } from '../../src/upload/model/phase.js'
import { checkpointOf, completing, published, sealed, spooling } from '../support/records.js'

const error = { code: 'ERR_SPOOL_DENIED', message: 'no\n"way"', at: '2026-01-02T03:04:05.678Z' }

/** One checkpoint per phase, and one with every property that a checkpoint can have. */
const CHECKPOINTS: Readonly<Record<string, Checkpoint>> = {
  spooling: checkpointOf(spooling()),
  sealed: checkpointOf(sealed({}, 'U')),
  completing: checkpointOf(completing('U')),
  published: checkpointOf(published()),
  everything: {
    ...startSuccessor(checkpointOf(completing('U')), {
      ...spooling({
        headers: { 'cache-control': 'no-cache' },
        meta: { a: '日本 😀', constructor: 'kept', prototype: 'kept', '10': 'x', '9': 'y' },
        tags: { constructor: 'kept', __proto__x: 'kept' },
        mime: 'text/csv',
        storageClass: 'IA',
        acl: 'private',
        overwrite: false,
        callback: {
          url: 'http://x',
          body: 'b',
          host: 'h',
          contentType: 'c',
          callbackSNI: true,
          customValue: { constructor: 1, b: true, c: 'x' },
        },
      }),
      error,
      crcs: ['0', '18446744073709551615'],
    }),
    key: 'a "key"\\ with\nall\t日本',
    superseded: ['V', 'W'],
  },
}

/** Returns a checkpoint file whose digest matches its body. */
function fileOf(body: string, format: unknown = 1): string {
  return `{"format":${JSON.stringify(format)},"digest":"${digestOf(body)}","checkpoint":${body}}\n`
}

t.test('decodeCheckpoint() restores what encodeCheckpoint() wrote', async t => {
  for (const [name, checkpoint] of Object.entries(CHECKPOINTS)) {
    const text = encodeCheckpoint(checkpoint)
    t.same(decodeCheckpoint(text), checkpoint, name)
    t.equal(encodeCheckpoint(decodeCheckpoint(text)).length, text.length, `${name}, encoded again`)
  }
})

t.test('encodeCheckpoint() writes the documented envelope', async t => {
  const { spooling: checkpoint } = CHECKPOINTS
  const text = encodeCheckpoint(checkpoint!) // it is in the table above
  t.match(text, /^\{"format":1,"digest":"sha256:[0-9a-f]{64}","checkpoint":\{.*\}\}\n$/s)
  t.equal(text, fileOf(JSON.stringify(checkpoint)))
})

t.test('encodeCheckpoint() throws for a checkpoint that could not be decoded', async t => {
  const bad = { ...checkpointOf(sealed()), key: undefined } as unknown as Checkpoint
  t.throws(() => encodeCheckpoint(bad), TypeError)
  const callback = checkpointOf({ ...sealed(), object: { callback: null } } as never)
  t.throws(() => encodeCheckpoint(callback), TypeError)
})

t.test('decodeCheckpoint() on damaged files', async t => {
  const whole = encodeCheckpoint(CHECKPOINTS['everything']!) // it is in the table above

  t.test('rejects a checkpoint truncated at any byte', async t => {
    const accepted: number[] = []
    const bytes = Buffer.from(whole)
    for (let length = 0; length < bytes.length - 1; length++) {
      try {
        decodeCheckpoint(bytes.toString('utf8', 0, length))
        accepted.push(length)
      } catch (reason) {
        if (!(reason instanceof CheckpointDamagedError)) throw reason
      }
    }
    t.same(accepted, [])
  })

  t.test('rejects a checkpoint with any flipped bit, or decodes it unchanged', async t => {
    const expected = JSON.stringify(decodeCheckpoint(whole))
    const wrong: string[] = []
    const later = new Set<number>()
    for (let i = 0; i < Buffer.byteLength(whole); i++) {
      for (let bit = 0; bit < 8; bit++) {
        const bytes = Buffer.from(whole)
        bytes[i]! ^= 1 << bit
        try {
          if (JSON.stringify(decodeCheckpoint(bytes.toString())) !== expected)
            wrong.push(`${i}.${bit}`)
        } catch (reason) {
          if (reason instanceof LaterFormatError) later.add(i)
          else if (!(reason instanceof CheckpointDamagedError)) throw reason
        }
      }
    }
    t.same(wrong, [])
    t.same(
      [...later],
      ['{"format":'.length],
      'only a change of the format number reports a later format',
    )
  })

  t.test('rejects a checkpoint with zeroed bytes, as left by a power failure', async t => {
    for (const from of [0, 100, whole.length >> 1]) {
      const bytes = Buffer.from(whole).fill(0, from)
      t.throws(() => decodeCheckpoint(bytes.toString()), CheckpointDamagedError)
    }
  })

  t.test('rejects text that is not a checkpoint', async t => {
    const body = JSON.stringify(CHECKPOINTS['sealed'])
    for (const text of [
      '',
      '\n',
      '\0'.repeat(512),
      'null',
      '{}',
      '[]',
      '0',
      'true',
      '"text"',
      whole + whole,
      `${whole}x`,
      '{"format":1}',
      '{"format":1,"digest":"sha256:"}',
      `{"format":1,"digest":"${digestOf('')}"}`,
      `{"digest":"${digestOf(body)}","checkpoint":${body}}`,
      `{"format":1,"digest":"sha256:${'0'.repeat(64)}","checkpoint":${body}}`,
      fileOf(body, 0),
      fileOf(body, -1),
      fileOf(body, 1.5),
      fileOf(body, '1'),
      fileOf(body, '2'),
      fileOf(body, null),
      fileOf(body, 1e300),
      fileOf('null'),
      fileOf('{}'),
      fileOf('[]'),
    ]) {
      t.throws(() => decodeCheckpoint(text), CheckpointDamagedError, text.slice(0, 60))
    }
  })

  t.test('rejects an invalid checkpoint even if its digest matches', async t => {
    const { sealed: good, spooling: flowing } = CHECKPOINTS
    const { upload } = good!
    for (const [name, record] of Object.entries({
      'no key': { ...good, key: undefined },
      'an unknown phase': { ...good, upload: { ...upload, phase: 'done' } },
      'sealed without a size': { ...good, upload: { ...upload, size: undefined } },
      'a negative size': { ...good, upload: { ...upload, size: -1 } },
      'a fractional number of bytes': { ...good, upload: { ...upload, spooled: 0.5 } },
      'a CRC64 in hex': { ...good, upload: { ...upload, crc64: '0xff' } },
      'a CRC64 as a number': { ...good, upload: { ...upload, crcs: [5] } },
      'an invalid time': { ...good, upload: { ...upload, createdAt: 'yesterday' } },
      'a file in another directory': { ...good, upload: { ...upload, file: '../../etc/passwd' } },
      'a file with a path': { ...good, upload: { ...upload, file: 'spool-1/../x' } },
      'another plan version': {
        ...good,
        upload: { ...upload, plan: { version: 2, base: 1, cap: 1 } },
      },
      'an unknown property': { ...good, more: true },
      'a predecessor that is not sealed': { ...good, previous: flowing!.upload },
      'metadata that is not a string': {
        ...good,
        upload: { ...upload, object: { meta: { a: 5 } } },
      },
      'metadata in an array': { ...good, upload: { ...upload, object: { meta: ['a'] } } },
    })) {
      t.throws(() => decodeCheckpoint(fileOf(JSON.stringify(record))), CheckpointDamagedError, name)
    }
  })

  t.test('does not let a checkpoint pollute any prototype', async t => {
    const body = JSON.stringify(CHECKPOINTS['sealed'])
    const inner = (json: string): string => fileOf(body.replace(/\}$/, `,${json}}`))
    const meta = fileOf(body.replace('"object":{}', '"object":{"meta":{"__proto__":"x","a":"b"}}'))
    for (const text of [
      inner('"__proto__":{"polluted":true}'),
      inner('"constructor":{"prototype":{"polluted":true}}'),
      meta,
      `{"__proto__":{"format":1},"digest":"${digestOf(body)}","checkpoint":${body}}`,
    ]) {
      try {
        decodeCheckpoint(text)
      } catch (reason) {
        t.type(reason, CheckpointDamagedError)
      }
      t.notOk('polluted' in {})
    }
    const read = decodeCheckpoint(meta)
    t.equal(Object.getPrototypeOf(read.upload.object.meta), Object.prototype)
  })
})

t.test('decodeCheckpoint() restores freed parts and their digests', t => {
  const freed = checkpointOf({ ...sealed({}, 'U'), freed: [[1, 7]], met: { md5: 'x' } })
  t.same(decodeCheckpoint(encodeCheckpoint(freed)), freed)
  t.end()
})

t.test('decodeCheckpoint() reports a later format as such, independent of its content', async t => {
  const body = JSON.stringify({ all: 'new' })
  for (const text of [fileOf(body, FORMAT + 1), fileOf(body, 1000), '{"format":3,"zip":"..."}']) {
    t.throws(() => decodeCheckpoint(text), LaterFormatError, text.slice(0, 40))
  }
})
