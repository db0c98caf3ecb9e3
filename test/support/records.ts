/** Checkpoints of each phase of an upload, made by the real state machine. */
import type {
  Checkpoint,
  Completing,
  Published,
  Sealed,
  Spooling,
} from '../../src/disk/checkpoint.js'
import type { ObjectOptions } from '../../src/oss/object-headers.js'
import type { Place } from '../../src/oss/bucket.js'
import {
  startSpooling,
  startCompleting,
  newCheckpoint,
  markPublished,
  seal,
} from '../../src/upload/model/phase.js'
import { MIB, createPlan } from '../../src/upload/model/plan.js'

export const PLACE: Place = {
  endpoint: 'https://oss-cn-hangzhou.aliyuncs.com',
  region: 'oss-cn-hangzhou',
  bucket: 'bucket',
  cname: false,
  pathStyle: false,
}

export const AT = Date.parse('2026-01-02T03:04:05.678Z')

export function spooling(object: ObjectOptions = {}): Spooling {
  return startSpooling({
    plan: createPlan(MIB),
    object,
    replay: 'restart',
    once: false,
    file: 'spool-1-a',
  })
}

export function sealed(object: ObjectOptions = {}, uploadId?: string): Sealed {
  const end = { size: MIB + 5, crc64: 123n, crcs: ['4', '5'] }
  const record = seal(spooling(object), end)
  return uploadId === undefined ? record : { ...record, uploadId }
}

export function completing(uploadId?: string): Completing {
  return startCompleting(sealed({}, uploadId), 'multipart', AT)
}

export function published(): Published {
  return markPublished(completing('U'), { etag: '"E"', parts: 2, requestId: 'R' })
}

export function checkpointOf(upload: Checkpoint['upload'], id = 'id'): Checkpoint {
  return { ...newCheckpoint(id, PLACE, 'a/key.csv', spooling()), upload }
}
