/** Checks of the client: uploads through the spool, as programs use it. */
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { errorCode } from '../../util/error-code.js'
import type { UploadOptions } from '../../upload/model/options.js'
import { PART_SIZE, type Target } from '../target.js'
import { content, type Check } from './check.js'

export const SPOOL_CHECKS: readonly Check[] = [
  {
    name: 'stream in parts',
    async run(target) {
      await stream(target, 'parts', 3 * PART_SIZE + 1)
      await readBack(target, 'parts')
    },
  },
  {
    name: 'stream in one request',
    async run(target) {
      await stream(target, 'small', 1000, { meta: { owner: 'check' }, mime: 'text/csv' })
      await readBack(target, 'small')
      await stream(target, 'empty', 0)
      await readBack(target, 'empty')
    },
  },
  {
    name: 'resume',
    async run(target) {
      const { recorder } = target
      recorder.isCut = (method, url) => method === 'PUT' && url.includes('partNumber=3')
      await stream(target, 'resumed', 4 * PART_SIZE)
      recorder.isCut = () => false
      for (const { id, phase } of await target.spool().uploads()) {
        recorder.note('phase', phase)
        await outcome(target, () => target.spool().resume(id))
      }
      await readBack(target, 'resumed')
    },
  },
  {
    name: 'commit',
    async run(target) {
      const sink = target.spool().createWriteStream(`${target.folder}committed`)
      sink.on('error', () => undefined)
      sink.write(content(PART_SIZE + 1000))
      await outcome(target, async () => sink.commit())
      sink.destroy()
      await new Promise(resolve => sink.once('close', resolve))
      await outcome(target, () => target.spool().resume(sink.id))
      await readBack(target, 'committed')
    },
  },
  {
    name: 'overwrite: false',
    async run(target) {
      await stream(target, 'taken', 1000)
      await stream(target, 'taken', 2000, { overwrite: false })
      await readBack(target, 'taken')
    },
  },
]

async function stream(
  target: Target,
  name: string,
  size: number,
  options: UploadOptions = {},
): Promise<void> {
  const sink = target.spool().createWriteStream(target.folder + name, options)
  await outcome(target, async () => {
    await pipeline(Readable.from(size === 0 ? [] : [content(size)]), sink)
    return sink.result
  })
}

/** Notes how an upload ended. */
async function outcome(target: Target, upload: () => Promise<unknown>): Promise<void> {
  try {
    const result = Object(await upload())
    const names = ['size', 'crc64', 'etag', 'parts', 'sent', 'skipped'] as const
    const facts = names.flatMap(name => (name in result ? [`${name} ${result[name]}`] : []))
    target.recorder.note('result', facts.join(', ') || 'done')
  } catch (error) {
    target.recorder.note('result', errorCode(error) ?? String(error))
  }
}

async function readBack(target: Target, name: string): Promise<void> {
  await target.send('HEAD', target.folder + name)
  await target.send('GET', target.folder + name)
}
