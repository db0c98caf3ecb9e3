/** `oss-spool config show`: what is configured, and which of all the places it comes from. */
import type { Command } from 'commander'
import type { ConnectionFlags } from '../connection.js'
import { EXIT_DONE } from '../exit-status.js'
import { connectionOptions, examples } from '../option.js'
import type { Session, SpoolFlags } from '../session.js'
import { flagOf, SETTINGS } from '../settings.js'
import { table } from '../table.js'
import { printable } from '../text.js'

export function defineConfig(program: Command, session: Session): void {
  const config = program.command('config').description('what is configured').helpCommand(false)
  const command = connectionOptions(config.command('show'))
    .description('print every setting and where it comes from; secrets are masked')
    .action((flags: SpoolFlags) => session.run(flags, merged => show(session, merged, flags)))
  examples(command, [
    'oss-spool config show',
    'oss-spool config show --config /etc/oss-spool/backup.json --json | jq .region',
  ])
  examples(config, ['oss-spool config show', 'oss-spool config show --json'])
}

type Values = Readonly<Record<string, string | number | boolean | undefined>>

interface Shown {
  readonly name: string
  readonly value?: string | number | boolean
  readonly from: string
}

async function show(session: Session, merged: SpoolFlags, flags: SpoolFlags): Promise<number> {
  const settings = await shown(session, merged, flags)
  if (flags.json) {
    const entries = settings.map(({ name, ...rest }) => [name, rest])
    session.print(JSON.stringify(Object.fromEntries(entries)))
    return EXIT_DONE
  }
  const { isTTY, columns } = session.io.stdout
  const rows = settings.map(({ name, value, from }) => [
    name,
    printable(String(value ?? '-')),
    printable(from),
  ])
  const widths = [{ name: 'SETTING' }, { name: 'VALUE', min: 12 }, { name: 'FROM', min: 12 }]
  for (const line of table(widths, rows, isTTY ? columns : undefined)) session.print(line)
  return EXIT_DONE
}

async function shown(
  session: Session,
  merged: SpoolFlags,
  flags: SpoolFlags,
): Promise<readonly Shown[]> {
  const { defaultDirectory } = await import('../../upload/names.js')
  const { origins, credentials, file } = await session.configuration(flags)
  const given: Values = { ...flags }
  const values: Values = { spool: defaultDirectory(session.io.env), ...merged, ...credentials }
  const rows = SETTINGS.map(({ name, secret }): Shown => {
    const value = values[name]
    if (value === undefined) return { name, from: whereElse(name, flags) }
    const from = given[name] === undefined ? (origins.get(name) ?? 'default') : flagOf(name)
    return {
      name,
      value: secret === true ? masked(name, String(value)) : shownAs(name, value),
      from,
    }
  })
  return [
    ...rows,
    { name: 'configuration', value: file, from: flags.config ? '--config' : 'default' },
  ]
}

/** What holds when a setting is found nowhere. */
function whereElse(name: string, { local }: ConnectionFlags): string {
  if (!['accessKeyId', 'accessKeySecret', 'sessionToken'].includes(name)) return 'default'
  return local === undefined ? "Alibaba's default credential chain, if anything" : '--local'
}

/** An endpoint with a password is refused by whoever uses it; until then it is shown without. */
function shownAs<T>(name: string, value: T): T | string {
  if (name !== 'endpoint' || typeof value !== 'string') return value
  return value.replace(/^(\w+:\/\/)?.*@/s, '$1***@')
}

/** A key id says whose it is by its beginning; of a secret nothing is shown, not even its length. */
function masked(name: string, value: string): string {
  return name === 'accessKeyId' && value.length >= 12 ? `${value.slice(0, 4)}********` : '********'
}
