/** `doctor --live-check`: announces the checks, runs them, and writes and prints what they found. */
import { open, type FileHandle } from 'node:fs/promises'
import { resolve } from 'node:path'
import type { Difference } from '../../live-check/compare.js'
import { LiveCheck, type LiveCheckResult } from '../../live-check/live-check.js'
import { errorCode } from '../../util/error-code.js'
import { confirm } from '../confirm.js'
import type { ConnectionFlags } from '../connection.js'
import { UsageError } from '../exit-status.js'
import type { Session } from '../session.js'
import { formatTable } from '../table.js'
import { formatBytes } from '../units.js'
import { failedResult, okResult, skippedResult, type CheckResult } from './check-result.js'

export interface LiveCheckOutcome {
  readonly checks: readonly CheckResult[]
  /** Differences, for people. */
  readonly table: readonly string[]
  /** Absent if the question was answered with no. */
  readonly report?: Omit<LiveCheckResult, 'leftBehind'> & { readonly transcript: string }
}

/** @param isConfirmed – starts without asking */
export async function liveCheck(
  session: Session,
  flags: ConnectionFlags,
  { bucket, prefix }: { readonly bucket: string; readonly prefix: string },
  isConfirmed: boolean,
): Promise<LiveCheckOutcome> {
  const check = new LiveCheck({
    client: { ...(await session.clientOptions(flags, bucket)), bucket },
    prefix: prefix === '' || prefix.endsWith('/') ? prefix : `${prefix}/`,
    signal: session.signal,
  })
  session.log('Running the checks against the emulator first ...')
  const { folder, requests, bytes } = await check.rehearse()
  const where = `oss://${bucket}/${folder}`
  session.log(
    `The live check sends about ${requests} requests (${formatBytes(bytes)}) to OSS, which are charged. It makes objects and upload ids below ${where} only, and removes them afterwards.`,
  )
  if (!isConfirmed && !(await confirm(session, 'Start the live check?'))) {
    return {
      checks: [failedResult('live check', 'not confirmed', 'Confirm it, or add --yes')],
      table: [],
    }
  }
  const path = resolve(
    `oss-spool-live-check-${new Date().toISOString().replaceAll(/[:.]/g, '')}.jsonl`,
  )
  const transcript = await createTranscript(path)
  try {
    const result = await check.run()
    const { leftBehind, ...report } = result
    return {
      checks: [
        ...(session.signal.aborted
          ? [skippedResult('live check', 'interrupted')]
          : [describeResult(result, path)]),
        ...describeRemoval(leftBehind, where),
      ],
      table: formatDifferences(result.differences, session.io.stdout),
      report: { transcript: path, ...report },
    }
  } finally {
    for (const entry of check.transcript()) await transcript.write(`${JSON.stringify(entry)}\n`)
    await transcript.close()
  }
}

/** Creates the file before the first request, so that nothing is sent in vain. @throws UsageError */
async function createTranscript(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx', 0o600)
  } catch (error) {
    throw new UsageError(
      `The transcript ${path} cannot be created: ${errorCode(error) ?? String(error)}`,
    )
  }
}

function describeResult({ requests, differences }: LiveCheckResult, path: string): CheckResult {
  const text = `${requests} requests; transcript without secrets in ${path}`
  return differences.length === 0
    ? okResult('live check', `no difference from the emulator in ${text}`)
    : failedResult(
        'live check',
        `${differences.length} differences from the emulator in ${text}`,
        'Send the transcript to the authors of oss-spool',
      )
}

function describeRemoval(leftBehind: string | undefined, where: string): CheckResult[] {
  if (leftBehind === undefined) return []
  return [failedResult('removal', leftBehind, `Remove what is left below ${where}`)]
}

function formatDifferences(
  differences: readonly Difference[],
  { isTTY, columns: width }: NodeJS.WriteStream,
): string[] {
  if (differences.length === 0) return []
  const columns = ['FACT', 'OSS', 'EMULATOR', 'WHERE'].map(name => ({ name, minWidth: 12 }))
  const rows = differences.map(({ fact, oss, emulator, where, count }) => [
    fact,
    oss,
    emulator,
    count === 1 ? (where[0] ?? '') : `${where[0] ?? ''} (${count} replies)`,
  ])
  return ['', ...formatTable(columns, rows, isTTY ? width : undefined)]
}
