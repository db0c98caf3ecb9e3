/** `oss-spool doctor`: checks whether an upload would work here, and how to fix problems. */
import { Option, type Command } from 'commander'
import type { CliConnection } from '../connection.js'
import type { CheckResult } from '../doctor/check-result.js'
import { canAsk } from '../confirm.js'
import type { LiveCheckOutcome } from '../doctor/live-check.js'
import { EXIT_SUCCESS, EXIT_FAILURE, UsageError } from '../exit-status.js'
import type { RedisFlags } from '../redis-connection.js'
import { addConnectionOptions, addExamples, addRedisOptions } from '../shared-options.js'
import type { Session, SpoolFlags } from '../session.js'
import { readSpoolContent } from '../spool-content.js'
import { parseBucketTarget } from '../target.js'
import { errorMessage, isArgumentError } from '../../util/error-shape.js'
import { describeArgumentError } from '../argument-errors.js'

type DoctorFlags = SpoolFlags &
  RedisFlags & { readonly liveCheck?: boolean; readonly yes?: boolean }

export function defineDoctor(program: Command, session: Session): void {
  const command = addRedisOptions(addConnectionOptions(program.command('doctor')))
    .description('check spool directory, credentials, clock, bucket, permissions and Redis')
    .argument('[oss://BUCKET/PREFIX]', 'target of the uploads; without it, OSS is not contacted')
    .addOption(new Option('--live-check', 'compare OSS with the emulator, request by request'))
    .addOption(new Option('--yes', 'do not ask for confirmation'))
    .action((target: string | undefined, flags: DoctorFlags) =>
      session.run(flags, merged => runDoctor(session, target, merged)),
    )
  addExamples(command, [
    'oss-spool doctor oss://backups/nightly/',
    'oss-spool doctor --redis redis://10.0.0.5',
    'oss-spool doctor --live-check oss://test-bucket/tmp/',
    `oss-spool doctor --json | jq '.checks[] | select(.state != "ok")'`,
  ])
}

async function runDoctor(
  session: Session,
  target: string | undefined,
  flags: DoctorFlags,
): Promise<number> {
  const bucketTarget = target === undefined ? undefined : parseBucketTarget(target)
  if (flags.liveCheck) checkLiveCheckFlags(session, flags, bucketTarget)
  const { checkSpoolContent, checkSpoolDirectory } = await import('../doctor/spool.js')
  const { defaultDirectory } = await import('../../upload/model/names.js')
  const directoryChecks = await checkSpoolDirectory(flags.spool ?? defaultDirectory(session.io.env))
  const isSpoolUsable = directoryChecks[0]?.state !== 'failed'
  const checks = [
    ...directoryChecks,
    ...(isSpoolUsable
      ? checkSpoolContent(
          session,
          await readSpoolContent(session, flags),
          await session.ownUploads(flags),
        )
      : []),
    ...(await checkConnection(session, flags, bucketTarget)),
    ...(selectsRedis(session) ? await checkRedisConnection(session, flags) : []),
  ]
  const isReady = checks.every(({ state }) => state !== 'failed')
  const isLive = flags.liveCheck === true && bucketTarget !== undefined && isReady
  const live = isLive ? await runLiveCheck(session, flags, bucketTarget) : undefined
  const results = [...checks, ...(live?.checks ?? [])]
  const isOk = results.every(({ state }) => state !== 'failed')
  if (flags.json) session.printJson({ ok: isOk, checks: results, liveCheck: live?.report })
  else
    for (const line of [...results.flatMap(formatCheck), ...(live?.table ?? [])])
      session.print(line)
  return isOk ? EXIT_SUCCESS : EXIT_FAILURE
}

/** @throws UsageError */
function checkLiveCheckFlags(
  session: Session,
  flags: DoctorFlags,
  target: object | undefined,
): void {
  if (target === undefined) throw new UsageError('--live-check needs a bucket: oss://BUCKET/PREFIX')
  if (flags.local !== undefined)
    throw new UsageError('--live-check compares OSS with the embedded one. Remove --local')
  if (!flags.yes && !canAsk(session))
    throw new UsageError('--live-check sends requests that are charged. Add --yes to send them')
}

async function runLiveCheck(
  session: Session,
  flags: DoctorFlags,
  target: { bucket: string; prefix: string },
): Promise<LiveCheckOutcome> {
  const { liveCheck } = await import('../doctor/live-check.js')
  return liveCheck(session, flags, target, flags.yes === true)
}

async function checkConnection(
  session: Session,
  flags: SpoolFlags,
  bucketTarget: { bucket: string; prefix: string } | undefined,
): Promise<CheckResult[]> {
  const { failedResult, okResult, skippedResult } = await import('../doctor/check-result.js')
  let connection: CliConnection
  try {
    connection = await session.connect(flags, bucketTarget?.bucket)
  } catch (error) {
    if (!(error instanceof UsageError || isArgumentError(error))) throw error
    const command = session.propose('config', 'show')
    const hint = `Run "${command}" to see the settings and where they come from`
    return [
      failedResult('credentials', describeArgumentError(session, error), hint),
      skippedResult('bucket', 'no connection'),
    ]
  }
  const origin = session.configuration.origins.get('accessKeyId')?.from ?? "Alibaba's default chain"
  const credentialsResult = okResult(
    'credentials',
    flags.local === undefined ? `from ${origin}` : 'none needed',
  )
  if (bucketTarget === undefined) {
    return [
      credentialsResult,
      skippedResult(
        'bucket',
        'not specified; name the target of the uploads (oss://BUCKET/PREFIX) to check it',
      ),
    ]
  }
  const { checkOss } = await import('../doctor/oss.js')
  const ossChecks = await checkOss(session, connection, bucketTarget.bucket, bucketTarget.prefix)
  // A rejection of the credentials by OSS replaces the result that there are some.
  return ossChecks.some(({ check }) => check === 'credentials')
    ? ossChecks
    : [credentialsResult, ...ossChecks]
}

/** Whether Redis is selected by anything but a variable of other programs. */
function selectsRedis({ configuration: { origins } }: Session): boolean {
  const isNamed = ['queue', 'fleet', 'redisPrefix'].some(name => origins.has(name))
  const from = origins.get('redis')?.from
  return isNamed || (from !== undefined && from !== '$REDIS_URL')
}

async function checkRedisConnection(session: Session, flags: RedisFlags): Promise<CheckResult[]> {
  const { openRedisOnce } = await import('../redis-connection.js')
  const { checkRedis } = await import('../doctor/redis.js')
  try {
    const { client } = await openRedisOnce(session, flags)
    return await checkRedis(client)
  } catch (error) {
    const { failedResult } = await import('../doctor/check-result.js')
    const configShow = `Run "${session.propose('config', 'show')}" to see the settings and where they come from`
    const hint =
      error instanceof UsageError
        ? (error.hint?.replace(/\.$/, '') ?? configShow)
        : 'Check the server, the URL of Redis (--redis, REDIS_URL) and its password'
    return [failedResult('redis', errorMessage(error), hint)]
  }
}

function formatCheck({ check, state, message, hint }: CheckResult): string[] {
  const stateLabels = { ok: 'ok', warning: 'WARNING', failed: 'FAILED', skipped: 'skipped' }
  const line = `${stateLabels[state].padEnd(7)}  ${check.padEnd(15)}  ${message}`
  return hint === undefined ? [line] : [line, `         ${hint}.`]
}
