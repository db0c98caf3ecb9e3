/** `oss-spool put`: uploads files or standard input through the spool. */
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Command } from 'commander'
import { mapLimit } from '../../util/map-limit.js'
import type { Spool } from '../../spool.js'
import type { InternalUploadOptions } from '../../upload/model/options.js'
import type { CliConnection } from '../connection.js'
import { EXIT_SUCCESS, UsageError, combineExitStatuses } from '../exit-status.js'
import { statsOf } from '../file-stats.js'
import { addExamples, addSettings, addUploadOptions } from '../shared-options.js'
import { startProgressDisplay, type ProgressDisplay } from '../progress.js'
import { monitored } from '../monitoring.js'
import { reportError, reportResult, type CliUploadResult } from '../report.js'
import type { Session } from '../session.js'
import { toFlag } from '../command-words.js'
import { openInputFile } from '../input-file.js'
import { openStdin } from '../stdin.js'
import { resolveTargets, type UploadTarget } from '../target.js'
import { resultIfUnchanged } from '../if-changed.js'
import { toUploadOptions, type UploadFlags } from '../upload-flags.js'

type PutFlags = UploadFlags & {
  readonly ifChanged?: boolean
  readonly inPlace?: boolean
  readonly parallelUploads?: number
}

export function definePut(program: Command, session: Session): void {
  const command = addUploadOptions(program.command('put'))
    .description('upload files or standard input')
    .argument(
      '<oss://BUCKET/KEY>',
      'the object or, with a trailing slash, the folder for the files',
    )
    .argument('[FILE...]', 'files or quoted patterns (default: -, standard input)')
    .action((target: string, files: string[], flags: PutFlags) =>
      session.run(
        flags,
        monitored(session, 'put', merged => putTargets(session, target, files, merged, flags)),
      ),
    )
  addExamples(addSettings(command, 'ifChanged', 'inPlace', 'parallelUploads'), [
    'oss-spool put "oss://backups/photos-$(date +%F).tar" photos.tar',
    `oss-spool put --if-changed oss://site/photos/ 'photos/**/*.jpg'`,
    'oss-spool put --local oss://demo/report.csv report.csv',
  ])
  command.addHelpText(
    'after',
    `Do not pipe a command into put: if the command fails, its truncated output is
published. Use "oss-spool run oss://BUCKET/KEY -- CMD" instead, or set
--expect-bytes, --expect-md5 or --expect-sha256.`,
  )
}

async function putTargets(
  session: Session,
  target: string,
  files: readonly string[],
  flags: PutFlags,
  givenFlags: PutFlags,
): Promise<number> {
  const targets = await resolveTargets(target, files)
  const options = await toUploadOptions(flags)
  checkFlagsFitTargets(targets, flags, givenFlags)
  checkFlagsFitCompression(targets, flags, options)
  if (flags.dryRun) return describeTargets(session, targets, flags, options)
  const input = targets.some(({ file }) => file === undefined) ? openStdin(session) : undefined
  const connection = await session.connect(flags, targets[0]?.bucket)
  const spool = await session.openSpool(flags, connection)
  const progress = startProgressDisplay(session, target, flags, targets.length)
  const resumableIds = flags.ifChanged ? await findResumableIds(spool) : NO_IDS
  const context: PutContext = {
    session,
    connection,
    spool,
    options,
    progress,
    flags,
    resumableIds,
  }
  const statuses = await mapLimit(flags.parallelUploads ?? 4, targets, async each => {
    if (session.signal.aborted) return EXIT_SUCCESS // not started, so there is nothing to report
    try {
      const { file } = each
      const uploading =
        file === undefined ? putStdin(context, each.key, input) : putFile(context, each.key, file)
      reportResult(session, await uploading, flags)
      return EXIT_SUCCESS
    } catch (error) {
      const object = `oss://${each.bucket}/${each.key}`
      return reportError(session, error, flags, { command: 'oss-spool put', object })
    }
  })
  progress.stop()
  return combineExitStatuses(statuses)
}

async function describeTargets(
  session: Session,
  targets: readonly UploadTarget[],
  flags: PutFlags,
  { compression }: InternalUploadOptions,
): Promise<number> {
  const { reportDryRun } = await import('../dry-run.js')
  const statuses: number[] = []
  for (const { bucket, key, file } of targets) {
    const planned = {
      bucket,
      key,
      ...(file === undefined
        ? ({ from: 'standard input', size: flags.size, reuses: 'nothing' } as const)
        : ({ from: file, size: regularSize(file), reuses: 'receipt' } as const)),
      compression,
      ifChanged: flags.ifChanged && file !== undefined ? (true as const) : undefined,
    }
    statuses.push(await reportDryRun(session, planned, flags, 'oss-spool put'))
  }
  return combineExitStatuses(statuses)
}

/** Returns the size of a file, or `undefined` for a pipe or a device. */
function regularSize(file: string): number | undefined {
  const stats = statsOf(file)
  return stats.isFile() ? stats.size : undefined
}

/** Context shared by the uploads of one command. */
interface PutContext {
  readonly session: Session
  readonly connection: CliConnection
  readonly spool: Spool
  readonly options: InternalUploadOptions
  readonly progress: ProgressDisplay
  readonly flags: PutFlags
  /** Ids of uploads that `resume` would finish, overwriting an object that is up to date now. */
  readonly resumableIds: ReadonlySet<string>
}

const NO_IDS: ReadonlySet<string> = new Set()

async function findResumableIds(spool: Spool): Promise<ReadonlySet<string>> {
  const uploads = await spool.uploads()
  return new Set(uploads.filter(({ resumable }) => resumable).map(({ id }) => id))
}

async function putFile(context: PutContext, key: string, file: string): Promise<CliUploadResult> {
  const { session, connection, spool, options, progress, flags, resumableIds } = context
  if (flags.ifChanged) {
    const { defaultId } = await import('../../upload/model/names.js')
    const id = flags.id ?? defaultId(connection.place(), key)
    const unchanged = resumableIds.has(id)
      ? undefined
      : await resultIfUnchanged(connection, key, file, id, session)
    if (unchanged !== undefined) return unchanged
  }
  return spool.upload(key, () => openInputFile(file), {
    ...options,
    ...(flags.inPlace ? { inPlace: file } : {}),
    maxAge: 0, // upload the file as it is now, not the bytes sealed earlier
    signal: session.signal,
    onProgress: event => progress.update(key, event),
  })
}

async function putStdin(
  { session, spool, options, progress }: PutContext,
  key: string,
  input: Readable = session.io.stdin,
): Promise<CliUploadResult> {
  const writeStream = spool.createWriteStream(key, { ...options, signal: session.signal })
  writeStream.on('progress', event => progress.update(key, event))
  await pipeline(input, writeStream).catch(() => {
    // `result` rejects with the same failure, wrapped with its code if the source failed.
  })
  return writeStream.result
}

/**
 * Rejects flags that do not fit the targets, such as the size of one stream with several files. Settings for files that
 * are configured in general do not concern standard input.
 */
function checkFlagsFitTargets(
  targets: readonly UploadTarget[],
  flags: PutFlags,
  givenFlags: PutFlags,
): void {
  const singleStreamFlags = [
    'id',
    'size',
    'expectBytes',
    'expectMd5',
    'expectSha256',
    'expectCrc64',
  ] as const
  const misusedFlag = singleStreamFlags.find(name => flags[name] !== undefined)
  if (targets.length > 1 && misusedFlag !== undefined) {
    throw new UsageError(
      `${toFlag(misusedFlag)} applies to one stream, but there are ${targets.length} files`,
    )
  }
  const givenFileFlag = fileFlagOf(givenFlags)
  if (givenFileFlag !== undefined && targets.some(({ file }) => file === undefined)) {
    throw new UsageError(`${givenFileFlag} needs a FILE: standard input can be read only once`)
  }
  const fileFlag = fileFlagOf(flags)
  const irregularFile = targets.find(
    ({ file }) => file !== undefined && !statsOf(file).isFile(),
  )?.file
  if (fileFlag !== undefined && irregularFile !== undefined) {
    throw new UsageError(`${fileFlag} needs regular files: ${irregularFile} can be read only once`)
  }
}

/** Rejects flags that need an object with the bytes of its file. */
function checkFlagsFitCompression(
  targets: readonly UploadTarget[],
  flags: PutFlags,
  { compression }: InternalUploadOptions,
): void {
  const fileFlag = fileFlagOf(flags)
  const hasFiles = targets.some(({ file }) => file !== undefined)
  if (compression === undefined || fileFlag === undefined || !hasFiles) return
  throw new UsageError(
    `${fileFlag} and ${toFlag(compression.format)} cannot be combined: the object has other bytes than the file`,
  )
}

function fileFlagOf({ ifChanged, inPlace }: PutFlags): string | undefined {
  return ifChanged ? '--if-changed' : inPlace ? '--in-place' : undefined
}
