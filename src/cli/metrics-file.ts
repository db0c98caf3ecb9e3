/**
 * `--metrics FILE`: metrics in the text format of Prometheus, for the textfile collector of node_exporter. The
 * file is replaced as a whole. It describes the spool after this command, and the last run of each command.
 */
import { open, rename, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { randomSuffix } from '../disk/durable-fs.js'
import { withFileLock } from '../disk/file-lock.js'
import type { UploadStatus } from '../upload/maintenance/status.js'
import { errorCode } from '../util/error-code.js'
import { errorMessage } from '../util/error-shape.js'
import { UsageError } from './exit-status.js'

/** node_exporter runs as another user; nothing in the file is secret. */
const FILE_MODE = 0o644
const LOCK_TIMEOUT_MS = 2_000
/** A larger file is not ours. */
const MAX_FILE_BYTES = 1024 * 1024

const PHASES = ['spooling', 'sealed', 'completing'] as const

/** The part of the spool's content that is measured. */
export interface MeasuredContent {
  readonly uploads: readonly UploadStatus[]
  readonly quarantine: readonly unknown[]
}

/** Last run of a command. */
export interface CommandRun {
  /** Name of the command. */
  readonly name: string
  /** In seconds. */
  readonly duration: number
  /** Its end in ms since 1970, if it succeeded. */
  readonly succeededAt?: number
}

interface CommandSamples {
  /** In seconds since 1970. */
  readonly lastSuccess?: number
  /** In seconds. */
  readonly lastDuration?: number
}

type SamplesByCommand = ReadonlyMap<string, CommandSamples>

/** @throws UsageError unless node_exporter would read a file of this name */
export function checkMetricsPath(path: string): void {
  if (/[^/]\.prom$/.test(path)) return
  throw new UsageError(`The metrics file ${path} must end in .prom: node_exporter reads no others`)
}

/**
 * Replaces the metrics file. A failure is a warning only.
 * @param readContent – reads the spool; if it fails, the file has no metrics of the spool
 * @param run – this run; without it, only the spool is measured
 * @param warn – called for each failure
 * @returns whether everything was written
 */
export async function writeMetrics(
  path: string,
  readContent: () => Promise<MeasuredContent>,
  run: CommandRun | undefined,
  warn: (message: string) => void,
): Promise<boolean> {
  const content = await readContent().catch((error: unknown) => {
    warn(`the spool cannot be measured for ${path}: ${errorMessage(error)}`)
  })
  try {
    const file = resolve(path)
    const lock = join(dirname(file), `.${basename(file)}.lock`)
    await withFileLock(lock, LOCK_TIMEOUT_MS, async () => {
      const samples = mergeRun(parseCommandSamples(await readOrEmpty(file)), run)
      await replaceFile(file, formatMetrics(content ?? undefined, samples, Date.now()))
    })
    return content !== undefined
  } catch (error) {
    warn(`the metrics file ${path} cannot be written: ${errorCode(error) ?? errorMessage(error)}`)
    return false
  }
}

/** Returns the samples with those of `run`. A failed run keeps the time of the last success. */
export function mergeRun(samples: SamplesByCommand, run: CommandRun | undefined): SamplesByCommand {
  if (run === undefined) return samples
  const { name, duration, succeededAt } = run
  const success = succeededAt === undefined ? {} : { lastSuccess: succeededAt / 1000 }
  return new Map([...samples, [name, { ...samples.get(name), ...success, lastDuration: duration }]])
}

/** Reads the samples of commands from a metrics file. Ignores all other lines. */
export function parseCommandSamples(text: string): SamplesByCommand {
  const samples = new Map<string, CommandSamples>()
  for (const [, name = '', command = '', digits] of text.matchAll(COMMAND_SAMPLE)) {
    const value = Number(digits)
    const sample = name === SUCCESS ? { lastSuccess: value } : { lastDuration: value }
    samples.set(command, { ...samples.get(command), ...sample })
  }
  return samples
}

const SUCCESS = 'oss_spool_last_success_timestamp_seconds'
const DURATION = 'oss_spool_last_duration_seconds'
const COMMAND_SAMPLE = new RegExp(
  String.raw`^(${SUCCESS}|${DURATION})\{command="([a-z]{1,20})"\} (\d{1,12}(?:\.\d{1,9})?)$`,
  'gm',
)

/**
 * Formats the metrics.
 * @param content – `undefined` if it could not be read
 * @param now – ms since 1970
 */
export function formatMetrics(
  content: MeasuredContent | undefined,
  samples: SamplesByCommand,
  now: number,
): string {
  const commands = [...samples].toSorted(([a], [b]) => a.localeCompare(b))
  const successes = commands.flatMap(([name, { lastSuccess }]) =>
    lastSuccess === undefined ? [] : [formatSample('command', name, lastSuccess)],
  )
  const durations = commands.flatMap(([name, { lastDuration }]) =>
    lastDuration === undefined ? [] : [formatSample('command', name, lastDuration)],
  )
  return [
    ...(content === undefined ? [] : formatSpool(content, now)),
    ...gauge(SUCCESS, 'End of the last successful run of each command.', successes),
    ...gauge(DURATION, 'Duration of the last run of each command, successful or not.', durations),
  ].join('')
}

function formatSpool({ uploads, quarantine }: MeasuredContent, now: number): string[] {
  const unfinished = PHASES.map(phase => ({
    phase,
    statuses: uploads.filter(status => status.phase === phase),
  }))
  const sealedAges = uploads
    .filter(({ phase }) => phase !== 'receipt')
    .flatMap(({ sealedAt, committedAt }) => sealedAt ?? committedAt ?? [])
    .map(time => (now - Date.parse(time)) / 1000)
  return [
    ...gauge(
      'oss_spool_unfinished_uploads',
      'Number of unfinished uploads in the spool directory.',
      unfinished.map(({ phase, statuses }) => formatSample('phase', phase, statuses.length)),
    ),
    ...gauge(
      'oss_spool_unfinished_bytes',
      'Bytes of unfinished uploads that were read from their sources.',
      unfinished.map(({ phase, statuses }) =>
        formatSample(
          'phase',
          phase,
          statuses.reduce((sum, { spooled }) => sum + spooled, 0),
        ),
      ),
    ),
    ...gauge(
      'oss_spool_oldest_sealed_age_seconds',
      'Time since the oldest seal or last commit of an unfinished upload; 0 if there is none.',
      [` ${formatNumber(Math.max(0, ...sealedAges))}`],
    ),
    ...gauge('oss_spool_quarantined_uploads', 'Number of uploads in the quarantine.', [
      ` ${quarantine.length}`,
    ]),
  ]
}

/** Returns the lines of a metric. @param samples – labels and value of each sample */
function gauge(name: string, help: string, samples: readonly string[]): string[] {
  if (samples.length === 0) return []
  return [
    `# HELP ${name} ${help}\n`,
    `# TYPE ${name} gauge\n`,
    ...samples.map(each => `${name}${each}\n`),
  ]
}

function formatSample(label: string, value: string, number: number): string {
  return `{${label}="${value}"} ${formatNumber(number)}`
}

/** Formats a number with ms, and without an exponent. */
function formatNumber(number: number): string {
  return String(Math.round(number * 1000) / 1000)
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    const file = await open(path, 'r')
    try {
      const stats = await file.stat()
      return stats.isFile() && stats.size <= MAX_FILE_BYTES ? await file.readFile('utf8') : ''
    } finally {
      await file.close()
    }
  } catch {
    return '' // replacing it fails with the reason, unless it does not exist
  }
}

/** Replaces `path`. The temporary name does not end in `.prom`. The umask does not apply. */
async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}-${randomSuffix()}.tmp`)
  try {
    const file = await open(temporary, 'wx', FILE_MODE)
    try {
      await file.chmod(FILE_MODE)
      await file.writeFile(text)
      await file.sync() // an empty file after a power cut would lose the times of other commands
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await unlink(temporary).catch(() => undefined) // report the first error
    throw error
  }
}
