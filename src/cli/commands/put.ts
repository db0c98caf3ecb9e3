/** `oss-spool put`: a file or standard input through the spool. */
import { open } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import type { Readable } from 'node:stream'
import type { ObjectOptions } from '../../oss/object-headers.js'
import { given, type UploadOptions } from '../../upload/options.js'
import type { ConnectionFlags } from '../connection.js'
import { EXIT_DONE, UsageError } from '../exit-status.js'
import { progressDisplay } from '../progress-bar.js'
import { reportResult, type ReportFlags } from '../report.js'
import type { Session } from '../session.js'
import { parseTarget } from '../target.js'

export interface UploadFlags {
  readonly id?: string
  readonly partSize?: number
  readonly parallel?: number
  readonly size?: number
  readonly expectBytes?: number
  readonly expectMd5?: string
  readonly expectSha256?: string
  readonly overwrite?: boolean
  readonly meta?: string[]
  readonly header?: string[]
  readonly contentType?: string
  readonly storageClass?: string
  readonly retries?: number
}

export type PutOptions = ConnectionFlags &
  ReportFlags &
  UploadFlags & { spool?: string; quiet?: boolean; maxRate?: number }

export async function put(
  session: Session,
  target: string,
  file: string,
  flags: PutOptions,
): Promise<number> {
  const { io } = session
  const { bucket, key } = parseTarget(target)
  const source = file === '-' ? io.stdin : await openFile(file)
  const spool = await session.spool(flags, bucket)
  const sink = spool.createWriteStream(key, { ...uploadOptions(flags), signal: session.signal })
  const display = await progressDisplay(io, target, flags)
  sink.on('progress', event => display.show(event))
  try {
    await pipeline(source, sink)
  } catch {
    // The result rejects with the same failure, and with its code when it was the source's.
  } finally {
    display.end()
  }
  reportResult(io, await sink.result, flags)
  return EXIT_DONE
}

/** The library's options from the command's flags. @throws UsageError */
export function uploadOptions(flags: UploadFlags): UploadOptions {
  const { id, partSize, parallel, size, retries, expectBytes, expectMd5, expectSha256 } = flags
  const storageClass = flags.storageClass as ObjectOptions['storageClass'] // checked by the library
  const all = {
    id,
    partSize,
    parallel,
    size,
    storageClass,
    mime: flags.contentType,
    overwrite: flags.overwrite === false ? false : undefined,
    retry: retries === undefined ? undefined : { attempts: retries },
    meta: pairs('--meta', flags.meta),
    headers: pairs('--header', flags.header),
    expect: given({ bytes: expectBytes, md5: expectMd5, sha256: expectSha256 }),
  }
  return given(all)
}

function pairs(
  flag: string,
  values: readonly string[] | undefined,
): Record<string, string> | undefined {
  if (values === undefined) return undefined
  return Object.fromEntries(
    values.map(value => {
      const at = value.indexOf('=')
      if (at < 1) throw new UsageError(`Expected ${flag} NAME=VALUE, got "${value}"`)
      return [value.slice(0, at), value.slice(at + 1)]
    }),
  )
}

async function openFile(path: string): Promise<Readable> {
  const file = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    throw new UsageError(`${path} cannot be read: ${error.code}`)
  })
  if ((await file.stat()).isDirectory()) {
    await file.close()
    throw new UsageError(`${path} is a directory`)
  }
  return file.createReadStream({ highWaterMark: 1024 * 1024 })
}
