/**
 * The process of one run. Measures one subject from the first byte requested to the answer, and compares the
 * answer with the bytes. Uploads before it (`spec.before`, sizes in bytes) warm up code and connections.
 */
import { existsSync, readdirSync, statSync, watch } from 'node:fs'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import OSS from 'ali-oss'
import { crcOf, sourceOf } from './source.mjs'

/** The upload before a run whose specification names no other. */
const WARM_UP = 32 * 2 ** 20

process.once('message', spec => {
  measure(spec)
    .then(
      measured => process.send({ measured }),
      error => process.send({ failed: error.stack ?? String(error) }),
    )
    .finally(() => process.disconnect())
})

async function measure(spec) {
  const subject = await import(`./subjects/${spec.subject}.mjs`)
  const dir = await mkdtemp(join(tmpdir(), 'oss-spool-bench-'))
  try {
    const before = spec.before ?? [Math.min(WARM_UP, spec.size)]
    for (const [i, size] of before.entries()) {
      await once(subject, { ...spec, key: `${spec.key}-before-${i}`, size, rate: undefined }, dir)
    }
    process.send({ ready: true })
    await new Promise(resolve => process.once('message', resolve)) // "go"
    return await once(subject, spec, dir)
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

async function once(subject, spec, dir) {
  const { size, rate, key } = spec
  const expected = crcOf(size)
  const file = join(dir, 'prepared')
  if (subject.needsFile) await writeFile(file, sourceOf(size))
  const memory = []
  const sampling =
    spec.watchMemory && setInterval(() => memory.push(process.memoryUsage.rss()), 250)
  const disk = []
  const diskSampling = spec.watchDisk && setInterval(() => disk.push(diskUsage(dir)), 100)
  const delay = monitorEventLoopDelay({ resolution: 2 })
  const source = sourceOf(size, rate)
  let sourceEnded
  source.once('end', () => (sourceEnded = performance.now()))
  delay.enable()
  const cpu = process.cpuUsage()
  const start = performance.now()
  const timeline = []
  const onProgress = ({ spooled, uploaded }) =>
    timeline.push([performance.now() - start, spooled, uploaded])
  const checkpoints = spec.watchCheckpoints && watchCheckpoints(dir)
  const extra =
    (await subject.run({
      ...spec,
      dir,
      file,
      source,
      ...(spec.watchProgress && { onProgress }),
    })) ?? {}
  const end = performance.now()
  const { user, system } = process.cpuUsage(cpu)
  delay.disable()
  clearInterval(sampling)
  clearInterval(diskSampling)
  if (checkpoints) extra.checkpoints = checkpoints.stop()
  if (subject.check) await subject.check(spec)
  else await check(subject.where, spec, dir, expected)
  return {
    ms: end - start,
    afterSource: sourceEnded === undefined ? undefined : end - sourceEnded,
    cpu: (user + system) / 1e6,
    rss: process.resourceUsage().maxRSS * 1024,
    delay: { p99: delay.percentile(99) / 1e6, max: delay.max / 1e6 },
    memory,
    disk,
    timeline,
    key,
    ...extra,
  }
}

/** Returns the disk usage of all files below a directory, in bytes. */
function diskUsage(dir) {
  let bytes = 0
  for (const name of readdirSync(dir, { recursive: true })) {
    const { blocks = 0 } = statSync(join(dir, name), { throwIfNoEntry: false }) ?? {}
    bytes += blocks * 512
  }
  return bytes
}

/** Counts checkpoint writes and their bytes. Each write is a new file that replaces the old one. */
function watchCheckpoints(dir) {
  const seen = { files: 0, bytes: 0 }
  const ends = []
  const look = upload => (_event, name) => {
    if (name !== 'checkpoint.json') return
    const size = statSync(join(upload, name), { throwIfNoEntry: false })?.size ?? 0
    seen.files += size > 0 ? 1 : 0
    seen.bytes += size
  }
  const uploads = watch(dir, (_event, name) => {
    const upload = join(dir, name)
    if (name.startsWith('.') || !existsSync(upload)) return
    ends.push(watch(upload, look(upload)))
  })
  return {
    stop() {
      for (const watcher of [uploads, ...ends]) watcher.close()
      return seen
    },
  }
}

async function check(where, { places, key, size }, dir, expected) {
  let found
  if (where === 'oss') {
    const { headers } = (await new OSS(places.oss).head(key)).res
    found = [Number(headers['content-length']), headers['x-oss-hash-crc64ecma']]
  } else if (where === 's3') {
    const { headers } = await fetch(`${places.s3}/bench/${key}`, { method: 'HEAD' })
    found = [Number(headers.get('content-length')), headers.get('x-oss-hash-crc64ecma')]
  } else if (where === 'disk') {
    found = [(await stat(join(dir, 'file'))).size, expected]
  } else return
  if (found[0] === size && found[1] === expected) return
  throw new Error(`${key}: ${found.join(' ')} arrived, ${size} ${expected} was sent`)
}
