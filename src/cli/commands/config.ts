/** `oss-spool config show`: prints every setting and its origin. */
import type { Command } from 'commander'
import type { ConnectionFlags } from '../connection.js'
import { EXIT_SUCCESS } from '../exit-status.js'
import { addConnectionOptions, addExamples } from '../shared-options.js'
import type { Session, SpoolFlags } from '../session.js'
import { SETTING_DEFINITIONS } from '../config-schema.js'
import { toFlag } from '../flag-name.js'
import { formatTable } from '../table.js'
import { escapeControlChars } from '../escape-control-chars.js'

export function defineConfig(program: Command, session: Session): void {
  const config = program.command('config').description('show configuration').helpCommand(false)
  const command = addConnectionOptions(config.command('show'))
    .description('print every setting and where it comes from; secrets are masked')
    .action((flags: SpoolFlags) => session.run(flags, merged => showConfig(session, merged, flags)))
  addExamples(command, [
    'oss-spool config show',
    'oss-spool config show --config /etc/oss-spool/backup.json --json | jq .region',
  ])
  addExamples(config, ['oss-spool config show', 'oss-spool config show --json'])
}

type ValueByName = Readonly<Record<string, string | number | boolean | undefined>>

interface SettingEntry {
  readonly name: string
  readonly value?: string | number | boolean
  readonly from: string
}

async function showConfig(
  session: Session,
  merged: SpoolFlags,
  flags: SpoolFlags,
): Promise<number> {
  const settings = await collectSettings(session, merged, flags)
  if (flags.json) {
    const entries = settings.map(({ name, ...rest }) => [name, rest])
    session.print(JSON.stringify(Object.fromEntries(entries)))
    return EXIT_SUCCESS
  }
  const { isTTY, columns } = session.io.stdout
  const rows = settings.map(({ name, value, from }) => [
    name,
    escapeControlChars(String(value ?? '-')),
    escapeControlChars(from),
  ])
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
  flags: SpoolFlags,
): Promise<readonly SettingEntry[]> {
  const { defaultDirectory } = await import('../../upload/model/names.js')
  const { origins, credentials, path: configPath } = await session.loadConfiguration(flags)
  const flagValues: ValueByName = { ...flags }
  const values: ValueByName = { spool: defaultDirectory(session.io.env), ...merged, ...credentials }
  const entries = SETTING_DEFINITIONS.map(({ name, secret, redact }): SettingEntry => {
    const value = values[name]
    if (value === undefined) return { name, from: defaultOrigin(name, flags) }
    const from = flagValues[name] === undefined ? (origins.get(name) ?? 'default') : toFlag(name)
    return {
      name,
      value: secret === true ? maskSecret(name, String(value)) : shown(name, value, redact),
      from,
    }
  })
  return [
    ...entries,
    { name: 'configuration', value: configPath, from: flags.config ? '--config' : 'default' },
  ]
}

/** Returns the origin of a setting that is not set anywhere. */
function defaultOrigin(name: string, { local }: ConnectionFlags): string {
  if (!['accessKeyId', 'accessKeySecret', 'sessionToken'].includes(name)) return 'default'
  return local === undefined ? "Alibaba's default credential chain, if anything" : '--local'
}

/** Returns a value without its secret parts. */
function shown<T>(name: string, value: T, redact?: (value: string) => string): T | string {
  return redact === undefined ? withoutPassword(name, value) : redact(String(value))
}

/** Hides a password in the endpoint. Such an endpoint is rejected only when it is used. */
function withoutPassword<T>(name: string, value: T): T | string {
  if (name !== 'endpoint' || typeof value !== 'string') return value
  return value.replace(/^(\w+:\/\/)?.*@/s, '$1***@')
}

/**
 * Keeps the start of a key id, which identifies its type and owner. Hides secrets completely, including their
 * length.
 */
function maskSecret(name: string, value: string): string {
  return name === 'accessKeyId' && value.length >= 12 ? `${value.slice(0, 4)}********` : '********'
}
