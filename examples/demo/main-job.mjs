/**
 * The main job: a process pipes the source into OSS and is killed when half is sent; another one,
 * which has nothing but the spool directory, finishes the upload; the object is what it must be.
 */
import { once } from 'node:events'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import OSS from 'ali-oss'
import { Spool } from 'oss-spool'
import { compare } from './compare.mjs'
import { count, expect, size, note, tell } from './telling.mjs'
import { bodies, isSinglePut, partsOn } from './traffic.mjs'

export const ROOT = dirname(fileURLToPath(import.meta.resolve('oss-spool/package.json')))

export async function mainJob(stage, { source, key, partSize, parallel, bandwidth, file }) {
  const { oss, bucket } = stage
  const client = oss.clientOptions(bucket)
  const dir = stage.path('spool')
  const witness = file ?? stage.path('witness')
  oss.link = { latency: 200, totalBandwidth: bandwidth }
  console.log(`source   ${source}`)
  console.log(`object   oss://${bucket}/${key} on an embedded OSS, ${oss.endpoint}`)
  console.log(`line     ${size(bandwidth)} a second\n`)

  const uploader = stage.fork(new URL('uploader.mjs', import.meta.url))
  const ended = once(uploader, 'exit')
  uploader.send({ client, dir, key, file, witness, options: { partSize, parallel } })
  tell(`process ${uploader.pid} pipes the source into oss://${bucket}/${key}`)
  const { size: total } = await untilSealed(new Spool({ client, dir }), ended)
  const sofar = size(partsOn(oss))
  tell(`sealed: the spool has all ${size(total)}, the source is done with; OSS has ${sofar}`)
  await untilHalf(oss, total, ended)
  uploader.kill('SIGKILL')
  await ended
  const atKill = oss.requests.length
  if (isSinglePut(oss)) {
    tell(`kill -9 ${uploader.pid}: its only request was under way, and may yet get through`)
  } else {
    await expectNoObject(new OSS(client), key)
    tell(`kill -9 ${uploader.pid}: OSS has ${size(partsOn(oss))} in parts, and no object`)
  }

  const { pid, output } = await resumeAll(stage, dir)
  const result = JSON.parse(output)
  const before = bodies(oss.requests.slice(0, atKill)) // with what was under way
  const after = bodies(oss.requests.slice(atKill))
  tell(`process ${pid}, elsewhere, without the source, is done: oss-spool resume --all`)
  note(`spooled           ${count(result.size)} bytes`)
  note(`sent, then kill   ${count(before)}`)
  note(`kept by OSS       ${count(result.skipped)}`)
  note(`sent by resume    ${count(result.sent)}, of these again ${count(before - result.skipped)}`)
  note(`CRC64             ${result.crc64}`)
  expect(after === result.sent, `OSS got ${after} bytes, ${result.sent} were reported as sent`)
  expect(result.skipped + result.sent === total, 'kept and sent do not make up the whole')
  expect(!result.sourceRead, 'the source was read again')

  oss.link = {} // the rest need not be slow
  const { stream, res } = await new OSS(client).getStream(key)
  const bytes = await compare(stream, witness)
  const crc64 = res.headers['x-oss-hash-crc64ecma']
  expect(crc64 === result.crc64, `the CRC64 of the object is ${crc64}`)
  const left = await new Spool({ client, dir }).uploads()
  expect(left.length === 0, 'the spool still lists the upload')
  tell(`downloaded: ${count(bytes)} bytes and their CRC64 are what the source gave`)
}

/** The status of the one upload, once its source has ended well. */
async function untilSealed(spool, ended) {
  for (;;) {
    const [status] = await spool.uploads()
    if (status !== undefined && status.phase !== 'spooling') return status
    await tick(ended)
  }
}

/** Half of the bytes are on OSS, or all of them are under way in the only request. */
async function untilHalf(oss, total, ended) {
  const isHalf = () => total > 0 && partsOn(oss) * 2 >= total
  while (!isHalf() && !isSinglePut(oss)) await tick(ended)
}

/** A moment, in which the uploading process must not end by itself. */
async function tick(ended) {
  const end = await Promise.race([sleep(20), ended])
  if (end !== undefined) throw new Error(`the upload ended (${end[0] ?? end[1]}) before its kill`)
}

/** All that the new process is given: where OSS is, credentials, and the spool directory. */
function resumeAll(stage, dir) {
  const { endpoint, region, credentials } = stage.oss
  const oss = ['--endpoint', endpoint, '--region', region]
  const args = ['resume', '--all', '--json', '--quiet', '--spool', dir, ...oss]
  return stage.run(process.execPath, [join(ROOT, 'dist/cli/bin.js'), ...args], {
    cwd: stage.path('elsewhere'),
    env: {
      HOME: stage.path('elsewhere'),
      OSS_ACCESS_KEY_ID: credentials.accessKeyId,
      OSS_ACCESS_KEY_SECRET: credentials.accessKeySecret,
    },
  })
}

async function expectNoObject(client, key) {
  const seen = await client.head(key).then(
    () => 200,
    error => error.status,
  )
  expect(seen === 404, `an unfinished upload is visible: HEAD answers ${seen}`)
}
