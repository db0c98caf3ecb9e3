/** `oss-spool put`: files, or standard input, through the spool. */
import { createReadStream, statSync, type ReadStream } from 'node:fs'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Option, type Command } from 'commander'
import { mapLimit } from '../../util/map-limit.js'
import type { Spool } from '../../spool.js'
import type { UploadOptions } from '../../upload/options.js'
import type { CliConnection } from '../connection.js'
import { EXIT_DONE, UsageError, worst } from '../exit-status.js'
import { countOption, examples, uploadOptions as withUploadOptions } from '../option.js'
import { display, type Display } from '../progress.js'
import { reportError, reportResult, type Result } from '../report.js'
import type { Session } from '../session.js'
import { flagOf } from '../settings.js'
import { standardInput } from '../standard-input.js'
import { targetsOf, type Target } from '../target.js'
import { unchanged } from '../unchanged.js'
import { uploadOptions, type UploadFlags } from '../upload-flags.js'

type PutFlags = UploadFlags & {
  readonly ifChanged?: boolean
  readonly inPlace?: boolean
  readonly parallelUploads?: number
}

export function definePut(program: Command, session: Session): void {
  const command = withUploadOptions(program.command('put'))
    .description('upload files or standard input')
    .argument('<oss://BUCKET/KEY>', 'with a slash at its end: the folder that the files go into')
    .argument('[FILE...]', 'files or quoted patterns; - or nothing: standard input')
    .addOption(
      new Option('--if-changed', 'leave an object alone whose size and CRC64 are the same'),
    )
    .addOption(
      new Option('--in-place', 'do not copy FILE: read it where it is; it must not change'),
    )
    .addOption(countOption('--parallel-uploads <N>', 'files at a time (default: 4)'))
    .action((target: string, files: string[], flags: PutFlags) =>
      session.run(flags, merged => put(session, target, files, merged)),
    )
  examples(command, [
    'mysqldump mydb | gzip | oss-spool put "oss://backups/mydb-$(date +%F).sql.gz"',
    `oss-spool put --if-changed oss://site/photos/ 'photos/**/*.jpg'`,
    'oss-spool put --local oss://demo/report.csv report.csv',
  ])
}

async function put(
  session: Session,
  target: string,
  files: readonly string[],
  flags: PutFlags,
): Promise<number> {
  const targets = await targetsOf(target, files)
  const options = await uploadOptions(flags)
  checkTogether(targets, flags)
  const input = targets.some(({ file }) => file === undefined) ? standardInput(session) : undefined
  const connection = await session.connect(flags, targets[0]?.bucket)
  const spool = await session.spool(flags, connection)
  const shown = display(session, target, flags, targets.length)
  const unfinished = flags.ifChanged ? await finishable(spool) : NOTHING
  const work: Work = { session, connection, spool, options, shown, flags, unfinished }
  const statuses = await mapLimit(flags.parallelUploads ?? 4, targets, async each => {
    if (session.signal.aborted) return EXIT_DONE // what was not begun is not spoken of
    try {
      const { file } = each
      const uploading =
        file === undefined ? putInput(work, each.key, input) : putFile(work, each.key, file)
      reportResult(session, await uploading, flags)
      return EXIT_DONE
    } catch (error) {
      const object = `oss://${each.bucket}/${each.key}`
      return reportError(session, error, flags, { command: 'oss-spool put', object })
    }
  })
  shown.end()
  return worst(statuses)
}

/** What each of the uploads is done with. */
interface Work {
  readonly session: Session
  readonly connection: CliConnection
  readonly spool: Spool
  readonly options: UploadOptions
  readonly shown: Display
  readonly flags: PutFlags
  /** Ids of uploads that `resume` would finish: an object that is up to date would not stay so. */
  readonly unfinished: ReadonlySet<string>
}

const NOTHING: ReadonlySet<string> = new Set()

async function finishable(spool: Spool): Promise<ReadonlySet<string>> {
  const uploads = await spool.uploads()
  return new Set(uploads.filter(({ phase }) => phase !== 'spooling').map(({ id }) => id))
}

async function putFile(work: Work, key: string, file: string): Promise<Result> {
  const { session, connection, spool, options, shown, flags, unfinished } = work
  if (flags.ifChanged) {
    const { defaultId } = await import('../../upload/names.js')
    const id = flags.id ?? defaultId(connection.place(), key)
    const same = unfinished.has(id)
      ? undefined
      : await unchanged(connection, key, file, id, session)
    if (same !== undefined) return same
  }
  const source = (): ReadStream => createReadStream(file, { highWaterMark: 1024 * 1024 })
  return spool.upload(key, source, {
    ...options,
    ...(flags.inPlace ? { inPlace: file } : {}),
    maxAge: 0, // the file as it is now, not what was sealed of it before
    signal: session.signal,
    onProgress: event => shown.show(key, event),
  })
}

async function putInput(
  { session, spool, options, shown }: Work,
  key: string,
  input: Readable = session.io.stdin,
): Promise<Result> {
  const sink = spool.createWriteStream(key, { ...options, signal: session.signal })
  sink.on('progress', event => shown.show(key, event))
  await pipeline(input, sink).catch(() => {
    // The result rejects with the same failure, and with its code when it was the source's.
  })
  return sink.result
}

/** What is said of one stream makes no sense for several. */
function checkTogether(targets: readonly Target[], flags: PutFlags): void {
  const one = ['id', 'size', 'expectBytes', 'expectMd5', 'expectSha256'] as const
  const wrong = one.find(name => flags[name] !== undefined)
  if (targets.length > 1 && wrong !== undefined) {
    throw new UsageError(
      `${flagOf(wrong)} is about one stream, but there are ${targets.length} files`,
    )
  }
  const fileFlag = flags.ifChanged ? '--if-changed' : flags.inPlace ? '--in-place' : undefined
  if (fileFlag !== undefined && targets.some(({ file }) => file === undefined)) {
    throw new UsageError(`${fileFlag} needs a FILE: standard input can be read only once`)
  }
  const odd = targets.find(({ file }) => file !== undefined && !statSync(file).isFile())?.file
  if (fileFlag !== undefined && odd !== undefined) {
    throw new UsageError(`${fileFlag} needs plain files: ${odd} can be read only once`)
  }
}
