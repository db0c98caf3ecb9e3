/** Parses `oss://BUCKET/KEY` and maps files to keys. */
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import { checkKey } from '../upload/model/names.js'
import { UsageError } from './exit-status.js'
import { errorCode } from '../util/error-code.js'
import { quoteHarmless } from '../util/secret-mask.js'

/** An object to create and the file to read. Without a file, standard input is read. */
export interface UploadTarget {
  readonly bucket: string
  readonly key: string
  readonly file?: string
}

/** Parses the target of one object. @throws UsageError, SpoolError `ERR_SPOOL_INVALID_KEY` */
export function parseTarget(text: string): { bucket: string; key: string } {
  const { bucket, key } = splitTarget(text)
  checkKey(key)
  return { bucket, key }
}

/** Parses the target of `resume --to`: one object. @throws UsageError, SpoolError `ERR_SPOOL_INVALID_KEY` */
export function parseMoveTarget(text: string): { bucket: string; key: string } {
  const { bucket, key } = splitTarget(text)
  if (key === '' || key.endsWith('/')) {
    throw new UsageError(
      `--to is one object. Specify its full key, such as oss://${bucket}/${key}name`,
    )
  }
  checkKey(key)
  return { bucket, key }
}

/** Parses the target of `doctor`, `oss://BUCKET` or `oss://BUCKET/PREFIX`. @throws UsageError */
export function parseBucketTarget(text: string): { bucket: string; prefix: string } {
  const { bucket, key } = splitTarget(/^oss:\/\/[^/]+$/.test(text) ? `${text}/` : text)
  return { bucket, prefix: key }
}

/**
 * Resolves to the objects that `put` creates, each with a readable file.
 * @throws UsageError, SpoolError `ERR_SPOOL_INVALID_KEY`
 */
export async function resolveTargets(
  text: string,
  files: readonly string[],
): Promise<UploadTarget[]> {
  const { bucket, key } = splitTarget(text)
  if (files.length === 0 || (files.length === 1 && files[0] === '-')) {
    if (key === '' || key.endsWith('/')) {
      throw new UsageError(`Standard input has no name. Specify the full key, such as ${text}name`)
    }
    checkKey(key)
    return [{ bucket, key }]
  }
  if (files.includes('-')) throw new UsageError('Standard input cannot be one of several files')
  const expandedFiles = (await Promise.all(files.map(expandPattern))).flat()
  const isFolder = key === '' || key.endsWith('/')
  if (expandedFiles.length > 1 && !isFolder) {
    throw new UsageError(
      `${expandedFiles.length} files need a folder as target. Use "${text}/" with a trailing slash`,
    )
  }
  const targets = expandedFiles.map(({ file, name }) => ({
    bucket,
    file,
    key: isFolder ? key + name : key,
  }))
  checkDistinctKeys(targets)
  for (const { file } of targets) await checkReadable(file)
  for (const { key: objectKey } of targets) checkKey(objectKey)
  return targets
}

function splitTarget(text: string): { bucket: string; key: string } {
  const match = /^oss:\/\/([^/]+)\/(.*)$/s.exec(text)
  const [, bucket, key] = match ?? []
  if (bucket === undefined || key === undefined) {
    throw new UsageError(`Expected oss://BUCKET/KEY, got ${quoteHarmless(redactCredentials(text))}`)
  }
  if (!/^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$/.test(bucket)) {
    throw new UsageError(
      `${quoteHarmless(redactCredentials(bucket))} is not a valid bucket name. Expected 3 to 63 characters of a-z, 0-9 and hyphens`,
    )
  }
  return { bucket, key }
}

/**
 * Redacts access keys as `ID:SECRET@`, a form that other tools accept, so that they do not end up in a log.
 */
function redactCredentials(text: string): string {
  const [, scheme = '', rest = ''] = /^(\w+:\/\/)?(.*)$/s.exec(text) ?? []
  const atIndex = rest.lastIndexOf('@')
  if (atIndex >= 0) return `${scheme}***${rest.slice(atIndex)}`
  return /^[^/]*:/.test(rest) ? `${scheme}***` : text
}

/**
 * Resolves to the file itself, or to the files that a pattern matches. `name` is the part of the path for the
 * key.
 */
async function expandPattern(file: string): Promise<{ file: string; name: string }[]> {
  const exists = (await stat(file).catch(() => undefined)) !== undefined
  if (exists || !/[*?[{]/.test(file)) return [{ file, name: basename(file) }]
  const { glob, isDynamicPattern } = await import('tinyglobby')
  const matches = await glob(file, { dot: false, onlyFiles: true, expandDirectories: false })
  if (matches.length === 0) throw new UsageError(`No file matches "${file}"`)
  const segments = file.split('/')
  const firstDynamicIndex = segments.findIndex(segment => isDynamicPattern(segment))
  const baseDirectory =
    segments.slice(0, firstDynamicIndex).join('/') || (file.startsWith('/') ? '/' : '.')
  return matches.toSorted().map(each => ({ file: each, name: relative(baseDirectory, each) }))
}

function checkDistinctKeys(targets: readonly Required<UploadTarget>[]): void {
  const fileByKey = new Map<string, string>()
  for (const { key, file } of targets) {
    const otherFile = fileByKey.get(key)
    if (otherFile !== undefined)
      throw new UsageError(`${otherFile} and ${file} would both be uploaded as "${key}"`)
    fileByKey.set(key, file)
  }
}

async function checkReadable(file: string): Promise<void> {
  try {
    await access(file, constants.R_OK)
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${errorCode(error) ?? String(error)}`)
  }
  if ((await stat(file)).isDirectory()) {
    throw new UsageError(`${file} is a directory. Specify its files, such as '${join(file, '**')}'`)
  }
}
