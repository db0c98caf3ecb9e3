/** `oss-spool config show`: prints every setting and its origin. */
import type { Command } from 'commander'
import type { ConnectionFlags } from '../connection.js'
import { EXIT_SUCCESS } from '../exit-status.js'
import { addConnectionOptions, addExamples } from '../shared-options.js'
import type { Session, SpoolFlags } from '../session.js'
import { SETTING_DEFINITIONS } from '../config-schema.js'
import { formatTable } from '../table.js'
import { defaultDirectory } from '../../upload/model/names.js'

export function defineConfig(program: Command, session: Session): void {
  const config = program.command('config').description('show configuration').helpCommand(false)
  const command = addConnectionOptions(config.command('show'))
    .description('print every setting and where it comes from; secrets are masked')
    .action((flags: SpoolFlags) => {
      session.useSettings(SETTING_DEFINITIONS) // it shows all of them, so a wrong one is an error
      return session.run(flags, merged => showConfig(session, merged))
    })
  addExamples(command, [
    'oss-spool config show',
    'oss-spool config show --config /etc/oss-spool/backup.json --json | jq .region',
  ])
  addExamples(config, ['oss-spool config show', 'oss-spool config show --json'])
}

interface SettingEntry {
  readonly name: string
  readonly value?: string | number | boolean
  readonly from: string
}

async function showConfig(session: Session, merged: SpoolFlags): Promise<number> {
  const settings = await collectSettings(session, merged)
  if (merged.json) {
    const entries = settings.map(({ name, ...rest }) => [name, rest])
    session.printJson(Object.fromEntries(entries))
    return EXIT_SUCCESS
  }
  const { isTTY, columns } = session.io.stdout
  const rows = settings.map(({ name, value, from }) => [name, String(value ?? '-'), from])
  const tableColumns = [
    { name: 'SETTING' },
    { name: 'VALUE', minWidth: 12 },
    { name: 'FROM', minWidth: 12 },
  ]
  for (const line of formatTable(tableColumns, rows, isTTY ? columns : undefined))
    session.print(line)
  return EXIT_SUCCESS
}

async function collectSettings(
  session: Session,
  merged: SpoolFlags,
): Promise<readonly SettingEntry[]> {
  const { origins, credentials, path, bucketEndpoints } = session.configuration
  const spool = merged.spool ?? defaultDirectoryIfAny(session.io.env)
  const values: Readonly<Record<string, unknown>> = { ...merged, spool, ...credentials }
  const definitions = SETTING_DEFINITIONS.filter(({ name }) => name !== 'config')
  const entries = definitions.map(({ name, secret, redact }): SettingEntry => {
    const value = values[name]
    if (value === undefined) return { name, from: defaultOrigin(name, merged) }
    const from = origins.get(name)?.from ?? 'default'
    const text = toScalar(value)
    return {
      name,
      value: secret === undefined ? shown(text, redact) : maskSecret(name, String(text)),
      from,
    }
  })
  const bucketEntries = [...bucketEndpoints].map(([bucket, { endpoint }]) => ({
    name: `endpoint of ${bucket}`,
    value: withoutPassword(endpoint),
    from: '~/.ossutilconfig',
  }))
  const configFrom = origins.get('config')?.from ?? 'default'
  return [
    ...entries,
    ...bucketEntries,
    { name: 'configuration', ...(path === undefined ? {} : { value: path }), from: configFrom },
  ]
}

/** A user without a home directory has no default. */
function defaultDirectoryIfAny(env: NodeJS.ProcessEnv): string | undefined {
  try {
    return defaultDirectory(env)
  } catch {
    return undefined
  }
}

/** Returns the origin of a setting that is not set anywhere. */
function defaultOrigin(name: string, { local }: ConnectionFlags): string {
  if (!['accessKeyId', 'accessKeySecret', 'sessionToken'].includes(name)) return 'default'
  return local === undefined ? "Alibaba's default credential chain, if anything" : '--local'
}

/** Returns a value without its secret parts. */
function shown<T extends string | number | boolean>(
  value: T,
  redact?: (value: string) => string,
): T | string {
  return redact === undefined ? withoutPassword(value) : redact(String(value))
}

/** Hides a password in a URL. An endpoint with one is rejected only when it is used. */
function withoutPassword<T>(value: T): T | string {
  if (typeof value !== 'string' || !/^(\w+:\/\/)?[^/]*@/.test(value)) return value
  return value.replace(/^(\w+:\/\/)?.*@/s, '$1***@')
}

/** Values of several parts are shown as their text. */
function toScalar(value: unknown): string | number | boolean {
  if (typeof value === 'number' || typeof value === 'boolean') return value
  if (Array.isArray(value)) return value.join(', ')
  return typeof value === 'string' ? value : JSON.stringify(value)
}

/**
 * Keeps the start of a key id, which identifies its type and owner. Hides secrets completely, including their
 * length.
 */
function maskSecret(name: string, value: string): string {
  return name === 'accessKeyId' && value.length >= 12 ? `${value.slice(0, 4)}********` : '********'
}
