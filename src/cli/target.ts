/** `oss://BUCKET/KEY` as people write it, and which file goes to which key. */
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { basename, relative } from 'node:path'
import { checkKey } from '../upload/names.js'
import { UsageError } from './exit-status.js'

/** An object and the file it is made of; no file: standard input. */
export interface Target {
  readonly bucket: string
  readonly key: string
  readonly file?: string
}

/** @throws UsageError, SpoolError `ERR_SPOOL_INVALID_KEY` */
export function parseTarget(text: string): { bucket: string; key: string } {
  const { bucket, key } = split(text)
  checkKey(key)
  return { bucket, key }
}

/** The place of a check-up, `oss://BUCKET` or `oss://BUCKET/PREFIX`. @throws UsageError */
export function bucketOf(text: string): { bucket: string; prefix: string } {
  const { bucket, key } = split(/^oss:\/\/[^/]+$/.test(text) ? `${text}/` : text)
  return { bucket, prefix: key }
}

/**
 * The objects that `put` is to make, each from a file that can be read.
 * @throws UsageError, SpoolError `ERR_SPOOL_INVALID_KEY`
 */
export async function targetsOf(text: string, files: readonly string[]): Promise<Target[]> {
  const { bucket, key } = split(text)
  if (files.length === 0 || (files.length === 1 && files[0] === '-')) {
    if (key === '' || key.endsWith('/')) {
      throw new UsageError(`Standard input has no name: give the whole key, such as ${text}name`)
    }
    checkKey(key)
    return [{ bucket, key }]
  }
  if (files.includes('-')) throw new UsageError('Standard input cannot be one of several files')
  const found = (await Promise.all(files.map(expand))).flat()
  const folder = key === '' || key.endsWith('/')
  if (found.length > 1 && !folder) {
    throw new UsageError(`${found.length} files need a folder: "${text}/" with a slash at its end`)
  }
  const targets = found.map(({ file, name }) => ({ bucket, file, key: folder ? key + name : key }))
  checkDistinct(targets)
  for (const { file, key: one } of targets) {
    checkKey(one)
    await checkReadable(file)
  }
  return targets
}

function split(text: string): { bucket: string; key: string } {
  const match = /^oss:\/\/([^/]+)\/(.*)$/s.exec(text)
  const [, bucket, key] = match ?? []
  if (bucket === undefined || key === undefined) {
    throw new UsageError(`Expected oss://BUCKET/KEY, got "${withoutUser(text)}"`)
  }
  if (!/^[a-z0-9][a-z0-9_-]{1,61}[a-z0-9]$/.test(bucket)) {
    throw new UsageError(
      `"${withoutUser(bucket)}" is no bucket name: 3 to 63 of a-z, 0-9 and hyphens`,
    )
  }
  return { bucket, key }
}

/** Other tools take keys before an `@`, joined by a colon: whoever tries that here does not find them in a log. */
function withoutUser(text: string): string {
  const [, scheme = '', rest = ''] = /^(\w+:\/\/)?(.*)$/s.exec(text) ?? []
  const at = rest.lastIndexOf('@')
  if (at >= 0) return `${scheme}***${rest.slice(at)}`
  return /^[^/]*:/.test(rest) ? `${scheme}***` : text
}

/** A file as it is named, or what a pattern matches; `name`: the part of the path that is kept. */
async function expand(file: string): Promise<{ file: string; name: string }[]> {
  const isThere = (await stat(file).catch(() => undefined)) !== undefined
  if (isThere || !/[*?[{]/.test(file)) return [{ file, name: basename(file) }]
  const { glob, isDynamicPattern } = await import('tinyglobby')
  const found = await glob(file, { dot: false, onlyFiles: true, expandDirectories: false })
  if (found.length === 0) throw new UsageError(`No file matches "${file}"`)
  const segments = file.split('/')
  const first = segments.findIndex(segment => isDynamicPattern(segment))
  const base = segments.slice(0, first).join('/') || (file.startsWith('/') ? '/' : '.')
  return found.toSorted().map(each => ({ file: each, name: relative(base, each) }))
}

function checkDistinct(targets: readonly Required<Target>[]): void {
  const seen = new Map<string, string>()
  for (const { key, file } of targets) {
    const other = seen.get(key)
    if (other !== undefined) throw new UsageError(`${other} and ${file} would both be "${key}"`)
    seen.set(key, file)
  }
}

async function checkReadable(file: string): Promise<void> {
  try {
    await access(file, constants.R_OK)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error)
    throw new UsageError(`${file} cannot be read: ${code}`)
  }
  if ((await stat(file)).isDirectory()) {
    throw new UsageError(`${file} is a directory: give its files, such as '${file}/**'`)
  }
}
