/** `--ping` and `--metrics`: what a command tells monitoring systems. Loads their modules only if they are used. */
import type { Command } from 'commander'
import { settingNamed } from './config-schema.js'
import { EXIT_SUCCESS, UsageError } from './exit-status.js'
import { INVALID_PING_URL, isPingUrl } from './ping-url.js'
import { ownArguments, rawFlagValue } from './raw-flags.js'
import type { GlobalFlags, Session } from './session.js'

export type MonitoringFlags = PingFlags & MetricsFlags & { readonly dryRun?: boolean }

interface PingFlags {
  readonly ping?: string
}

export type MetricsFlags = GlobalFlags & {
  readonly metrics?: string
}

/** ms for open sockets and name lookups of a ping that had no answer. */
const EXIT_GRACE_MS = 100

/** Wraps a command so that it honours `--ping` and `--metrics`, except with `--dry-run`. @param name – its name */
export function monitored<F extends MonitoringFlags>(
  session: Session,
  name: string,
  command: (flags: F) => Promise<number>,
): (flags: F) => Promise<number> {
  return async flags => {
    if (flags.dryRun === true) return command(flags)
    if (flags.ping !== undefined) await startPing(session, name, flags.ping)
    return measured(session, name, command)(flags)
  }
}

/** Wraps a command so that it honours `--metrics`. @param name – its name */
export function measured<F extends MetricsFlags>(
  session: Session,
  name: string,
  command: (flags: F) => Promise<number>,
): (flags: F) => Promise<number> {
  return async flags => {
    const { metrics: path } = flags
    if (path === undefined) return command(flags)
    const { checkMetricsPath, writeMetrics } = await import('./metrics-file.js')
    checkMetricsPath(path)
    const startedAt = performance.now()
    session.onExit(async status => {
      const duration = (performance.now() - startedAt) / 1000
      const run = {
        name,
        duration,
        ...(status === EXIT_SUCCESS ? { succeededAt: Date.now() } : {}),
      }
      const { readSpoolContent } = await import('./spool-content.js')
      // The command itself warns of uploads that cannot be read.
      const readContent = () => readSpoolContent(session, flags, () => {})
      await writeMetrics(path, readContent, run, message => session.logLine(message, WARNING))
    })
    return command(flags)
  }
}

const WARNING = { level: 'warn' } as const

/** Sends the start ping, and the last one when the session closes. @throws UsageError */
async function startPing(session: Session, name: string, url: string): Promise<void> {
  if (!isPingUrl(url)) throw new UsageError(`--ping: ${INVALID_PING_URL}`)
  const ping = await createPing(session, name, url)
  ping.start(`${JSON.stringify({ command: name })}\n`)
}

/** Creates a ping that is ended when the session closes. */
async function createPing(session: Session, name: string, url: string) {
  const [{ Ping }, { outcomeOf }] = await Promise.all([import('./ping.js'), import('./report.js')])
  const startedAt = performance.now()
  const ping = new Ping(url, message => session.logLine(message, WARNING))
  session.onExit(async status => {
    const body = outcomeOf(session).toPingBody(name, status, performance.now() - startedAt)
    if (await ping.end(status, body)) return
    // The lookup of a name cannot be aborted and would keep the process alive.
    setTimeout(() => session.io.exit(status), EXIT_GRACE_MS).unref()
  })
  return ping
}

/**
 * Pings the failure of a command line that could not be parsed, or whose configuration could not be read. Such a
 * run has no start ping.
 * @param command – the called command, if it is known
 */
export async function pingWrongUsage(
  session: Session,
  command: Command | undefined,
  args: readonly string[],
): Promise<void> {
  if (command?.options.some(({ long }) => long === '--ping') !== true) return
  if (session.isEnabled('dry-run', ownArguments(args))) return
  const url = rawFlagValue(args, '--ping') ?? (await configuredPing(session, args))
  if (url !== undefined && isPingUrl(url)) await createPing(session, command.name(), url)
}

async function configuredPing(
  session: Session,
  args: readonly string[],
): Promise<string | undefined> {
  const config = rawFlagValue(args, '--config')
  try {
    const { readConfiguration } = await import('./configuration.js')
    const { values } = readConfiguration({
      flags: config === undefined ? {} : { config },
      env: session.io.env,
      settings: [settingNamed('ping')],
    })
    return typeof values['ping'] === 'string' ? values['ping'] : undefined
  } catch {
    return session.io.env['OSS_SPOOL_PING'] // an unreadable configuration is the failure to be pinged
  }
}
